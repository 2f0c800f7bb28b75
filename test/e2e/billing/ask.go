package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The credentials that KRM is started with.
const (
	username = "bill"
	password = "s3cret of billing"
)

// asker asks a KRM.
type asker struct {
	base string
	http *http.Client
	kept *keeper // of answers of 200; nil keeps none
}

func newAsker(base string, transport http.RoundTripper) *asker {
	return &asker{base: base, http: &http.Client{Transport: transport, Timeout: 3 * time.Minute}}
}

// reply is an answer, read to its end.
type reply struct {
	code   int
	header http.Header
	body   []byte
}

// post asks for billing; headers are names and values in turn.
func (a *asker) post(ctx context.Context, path string, body any, headers ...string) (reply, error) {
	text, isText := body.(string)
	if !isText {
		encoded, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		text = string(encoded)
	}
	return a.do(ctx, http.MethodPost, path, text, append([]string{"X-USERNAME", username, "X-PASSWORD", password}, headers...)...)
}

func (a *asker) do(ctx context.Context, method, path, body string, headers ...string) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := a.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }() // all of it was read
	whole, err := io.ReadAll(response.Body)
	if err == nil && a.kept != nil && method == http.MethodPost && response.StatusCode == http.StatusOK {
		a.kept.keep(asked{path, body}, whole)
	}
	return reply{response.StatusCode, response.Header, whole}, err
}

// want is post for an answer of 200.
func (a *asker) want(ctx context.Context, path string, body any, headers ...string) (reply, error) {
	got, err := a.post(ctx, path, body, headers...)
	if err == nil && got.code != http.StatusOK {
		err = fmt.Errorf("POST %s %v: %d: %.300s", path, body, got.code, got.body)
	}
	return got, err
}

// get is a GET that must bring 200; into may be nil.
func (a *asker) get(ctx context.Context, path string, into any) (reply, error) {
	got, err := a.do(ctx, http.MethodGet, path, "")
	if err == nil && got.code != http.StatusOK {
		err = fmt.Errorf("GET %s: %d: %.300s", path, got.code, got.body)
	}
	if err != nil || into == nil {
		return got, err
	}
	return got, decode(got.body, into)
}

// decode reads JSON, with numbers as they are written.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("decode: %w: %.300s", err, body)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("decode: there is more: %.300s", body)
	}
	return nil
}

// row is a row of an answer: a point, or the sums of a group.
type row struct {
	Time         time.Time
	Unit, Level  string
	Cluster      string `json:"cluster_name"`
	Namespace    string `json:"namespace_name"`
	Pod          string `json:"pod_name"`
	UID          string `json:"pod_uid"`
	Container    string `json:"container_name"`
	Node         string `json:"nodename"`
	Resource     string `json:"resource_id"`
	GPU          string `json:"gpu_uuid"`
	Labels, Type string

	Value, Sum, Integral, Mean, Max, Samples, Expected, Coverage json.Number

	IntegralUnit string `json:"integral_unit"`
}
