package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

const (
	mediaJSON     = "application/json"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

// side is one of the two servers that are compared, as one reader sees it. Both get
// the same token, the same version of HTTP and clients made alike.
type side struct {
	name    string
	base    string // https://HOST:PORT
	token   string
	ca      []byte
	version string // of HTTP: "1" or "2"
	pid     int    // of the process that serves
	trusted *x509.CertPool
	http    *http.Client
}

// connect makes the side's client.
func (s *side) connect() error {
	s.trusted = x509.NewCertPool()
	if !s.trusted.AppendCertsFromPEM(s.ca) {
		return fmt.Errorf("read the certificate authority of %s: no certificate in it", s.name)
	}
	s.http = &http.Client{Transport: s.transport()}
	return nil
}

// transport makes connections of their own. It asks for gzip only where a request
// says so, and leaves bodies as they come.
func (s *side) transport() *http.Transport {
	t := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.trusted}, DisableCompression: true,
		MaxIdleConnsPerHost: 2 * getClients, ReadBufferSize: 32 << 10, Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(s.version == "1")
	t.Protocols.SetHTTP2(s.version == "2")
	return t
}

// restConfig is the side for client-go, with its own defaults.
func (s *side) restConfig() *rest.Config {
	return &rest.Config{
		Host: s.base, BearerToken: s.token, TLSClientConfig: rest.TLSClientConfig{CAData: s.ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: mediaProtobuf, AcceptContentTypes: mediaProtobuf + "," + mediaJSON},
		Timeout:       time.Minute,
	}
}

// read is a GET. What the answer must be like is checked after the time is taken.
type read struct {
	path     string
	accept   string // mediaJSON or mediaProtobuf
	encoding string // "identity" or "gzip"
}

// request makes the read's request.
func (s *side) request(ctx context.Context, r read) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+r.path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Accept", r.accept)
	request.Header.Set("Accept-Encoding", r.encoding)
	request.Header.Set("User-Agent", "krm-bench-read")
	return request, nil
}

// fetch reads an answer to its end into body, which it empties before, and returns
// the time from before the request to the last byte.
func (s *side) fetch(ctx context.Context, r read, body *bytes.Buffer) (time.Duration, error) {
	request, err := s.request(ctx, r)
	if err != nil {
		return 0, err
	}
	body.Reset()
	began := time.Now()
	answer, err := s.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	_, err = body.ReadFrom(answer.Body)
	took := time.Since(began)
	_ = answer.Body.Close()
	if err != nil {
		return 0, fmt.Errorf("%s: GET %s: %w", s.name, r.path, err)
	}
	return took, s.expect(r, answer, body.Bytes())
}

// expect fails unless the answer is of the kind that was asked for.
func (s *side) expect(r read, answer *http.Response, body []byte) error {
	wantsGzip := r.encoding == "gzip"
	isGzip := answer.Header.Get("Content-Encoding") == "gzip"
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: GET %s: %s: %.300s", s.name, r.path, answer.Status, body)
	}
	if media := answer.Header.Get("Content-Type"); media != r.accept || wantsGzip != isGzip || len(body) == 0 {
		return fmt.Errorf("%s: GET %s: %d bytes of type %q, encoding %q: want %s, %s",
			s.name, r.path, len(body), media, answer.Header.Get("Content-Encoding"), r.accept, r.encoding)
	}
	if major := answer.ProtoMajor; fmt.Sprint(major) != s.version {
		return fmt.Errorf("%s answers by HTTP/%d, want HTTP/%s", s.name, major, s.version)
	}
	return nil
}

// get reads one answer of JSON into memory of its own.
func (s *side) get(ctx context.Context, path string) ([]byte, error) {
	var body bytes.Buffer
	_, err := s.fetch(ctx, read{path, mediaJSON, "identity"}, &body)
	return body.Bytes(), err
}

// metrics reads /metrics.
func (s *side) metrics(ctx context.Context) (string, error) {
	request, err := s.request(ctx, read{path: "/metrics", accept: "text/plain", encoding: "identity"})
	if err != nil {
		return "", err
	}
	answer, err := s.http.Do(request)
	if err != nil {
		return "", fmt.Errorf("scrape %s: %w", s.name, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("scrape %s: %s: %.200s", s.name, answer.Status, text)
	}
	return string(text), err
}

// series adds up the series of a name, in the text of /metrics, that have a label
// such as resource="pods"; all of them if it is "".
func series(text, name, label string) (sum float64) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err == nil {
			sum += n
		}
	}
	return sum
}
