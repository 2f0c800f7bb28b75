package reader

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
)

// What a server is asked to answer with.
const (
	asJSON     = "application/json"
	asMetadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
)

// Fetch reads one list, such as /api/v1/pods, from the server at base.
func Fetch(ctx context.Context, client *http.Client, base, path string) (compare.List, error) {
	return fetch(ctx, client, base, path, asJSON)
}

// FetchMetadata reads one list of an API server, without specs and statuses.
func FetchMetadata(ctx context.Context, client *http.Client, base, path string) (compare.List, error) {
	return fetch(ctx, client, base, path, asMetadata)
}

func fetch(ctx context.Context, client *http.Client, base, path, accept string) (compare.List, error) {
	body, err := get(ctx, client, base+path, accept)
	if err != nil {
		return compare.List{}, err
	}
	defer body.Close()
	list, err := compare.ReadList(body)
	if err != nil {
		return compare.List{}, fmt.Errorf("GET %s: %w", path, err)
	}
	return list, nil
}

// FetchOne reads one object.
func FetchOne(ctx context.Context, client *http.Client, base, path string) ([]byte, error) {
	body, err := get(ctx, client, base+path, asJSON)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return text, nil
}

func get(ctx context.Context, client *http.Client, url, accept string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return nil, fmt.Errorf("GET %s: %s: %s", url, answer.Status, text)
	}
	return answer.Body, nil
}

// Poll lists path again and again until ctx ends, and notes each whole answer.
// What the server does not answer is passed over: it may be away for a while.
func Poll(ctx context.Context, client *http.Client, base, path string, every time.Duration, journal *Journal) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		if list, err := Fetch(asking, client, base, path); err == nil {
			journal.Replace(list.Objects)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
