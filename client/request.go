package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	mediaJSON     = "application/json"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
	// refusalBytes bounds what is read of an answer outside 2xx.
	refusalBytes = 1 << 20
	// trustedLength bounds the memory that is taken in advance on a Content-Length's word.
	trustedLength = 256 << 20
)

// Request is a GET that the typed methods do not cover.
type Request struct {
	Path   string     // below the base URL, escaped, with a leading slash: "/api/v1/pods"
	Query  url.Values // may be nil
	Accept string     // "application/json" if empty; the answer has to be JSON all the same
}

// Get sends request and returns the answer's JSON, the caller's to keep. It is
// what the typed methods are made of; errors are theirs.
func (c *Client) Get(ctx context.Context, request Request) ([]byte, Freshness, error) {
	if request.Accept == "" {
		request.Accept = mediaJSON
	}
	got, err := c.get(ctx, question{Request: request})
	return got.payload.body, got.fresh, err
}

// question is a Request and what its answer may be.
type question struct {
	Request
	binary bool   // protobuf may come too
	etag   string // of what is known already: unless it has changed, the answer is unchanged
}

// answer is an answer with a status code of 2xx, or 304 if an etag was sent.
type answer struct {
	payload   payload
	unchanged bool
	etag      string
	fresh     Freshness
	date      time.Time // the server's clock, in whole seconds; zero if it did not say
	header    http.Header
	url       string // without the query
}

// get sends what is asked, and sends it again while that makes sense.
func (c *Client) get(ctx context.Context, asked question) (answer, error) {
	for try := 0; ; try++ {
		got, again, err := c.try(ctx, http.MethodGet, asked)
		if err == nil || !again.worthwhile || try >= c.retries || ctx.Err() != nil {
			return got, err
		}
		if !wait(ctx, try, again.after) {
			return answer{}, interrupted(ctx, err)
		}
	}
}

// interrupted adds why there was no further try to what ended the last one.
func interrupted(ctx context.Context, last error) error {
	if ctx.Err() == nil || errors.Is(last, ctx.Err()) {
		return last
	}
	if last == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w, after %w", ctx.Err(), last)
}

// again says whether a failed try may be repeated, and how long the server asks
// to wait before.
type again struct {
	worthwhile bool
	after      time.Duration
}

// try sends one request and reads its answer.
func (c *Client) try(ctx context.Context, method string, asked question) (answer, again, error) {
	timed, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no whole answer within %v: %w", c.timeout, context.DeadlineExceeded))
	defer cancel()
	message, err := c.message(timed, method, asked)
	if err != nil {
		return answer{}, again{}, err
	}
	response, err := c.http.Do(message)
	if err != nil {
		return answer{}, again{worthwhile: mayPass(err)}, connectionError(message, err)
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	unchanged := asked.etag != "" && response.StatusCode == http.StatusNotModified
	if (response.StatusCode < 200 || response.StatusCode > 299) && !unchanged {
		return answer{}, again{retryable(response.StatusCode), retryAfter(response.Header)}, refusal(message, response)
	}
	body, err := readAll(response)
	if err != nil {
		return answer{}, again{worthwhile: true}, connectionError(message, fmt.Errorf("read the answer: %w", err))
	}
	got, err := newAnswer(message, response, body)
	if err == nil && !unchanged && method == http.MethodGet {
		err = checkMedia(message, response, body, asked.binary)
	}
	got.unchanged = unchanged
	return got, again{}, err
}

// refusal reads an answer outside 2xx.
func refusal(message *http.Request, response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, refusalBytes))
	if err != nil && len(body) == 0 {
		body = []byte(err.Error())
	}
	return statusError(message, response, body)
}

// message builds the HTTP request.
func (c *Client) message(ctx context.Context, method string, request question) (*http.Request, error) {
	path, err := url.PathUnescape(request.Path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q: want an escaped path with a leading slash, such as /api/v1/pods", request.Path)
	}
	target := *c.base
	target.RawPath = c.base.EscapedPath() + request.Path
	target.Path = c.base.Path + path
	target.RawQuery = request.Query.Encode()
	message, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, request.Path, err)
	}
	token, err := c.bearer()
	if err != nil {
		return nil, err
	}
	if token != "" {
		message.Header.Set("Authorization", "Bearer "+token)
	}
	message.Header.Set("Accept", request.Accept)
	message.Header.Set("User-Agent", c.userAgent)
	if request.etag != "" {
		message.Header.Set("If-None-Match", request.etag)
	}
	if c.compression == Identity { // the transport would ask for gzip
		message.Header.Set("Accept-Encoding", string(Identity))
	}
	return message, nil
}

// newAnswer reads an answer's headers.
func newAnswer(request *http.Request, response *http.Response, body []byte) (answer, error) {
	fresh, err := parseFreshness(response.Header)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", request.Method, place(request.URL), err)
	}
	date, _ := http.ParseTime(response.Header.Get("Date"))
	return answer{
		payload: payload{body: body, binary: isMedia(response.Header, mediaProtobuf)},
		etag:    response.Header.Get("ETag"), fresh: fresh, date: date, header: response.Header, url: place(request.URL),
	}, nil
}

// checkMedia refuses what is not of a type that KRM would send.
func checkMedia(request *http.Request, response *http.Response, body []byte, binary bool) error {
	want := mediaJSON
	if binary {
		want += " or " + mediaProtobuf
	}
	if isMedia(response.Header, mediaJSON) || binary && isMedia(response.Header, mediaProtobuf) {
		return nil
	}
	return fmt.Errorf("%s %s: the answer is of type %q, want %s (is this KRM's address?): %s", request.Method,
		place(request.URL), response.Header.Get("Content-Type"), want, excerpt(body))
}

// readAll reads the body into one piece of memory if its length is known.
func readAll(response *http.Response) ([]byte, error) {
	var body bytes.Buffer
	if length := response.ContentLength; length > 0 && length <= trustedLength {
		body.Grow(int(length) + bytes.MinRead)
	}
	_, err := body.ReadFrom(response.Body)
	return body.Bytes(), err
}

// mayPass says whether err may be another one at the next try. A certificate stays wrong.
func mayPass(err error) bool {
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &certificate)
}

func connectionError(request *http.Request, err error) error {
	var fault *url.Error
	if errors.As(err, &fault) { // it would repeat method and URL
		err = fault.Err
	}
	if cause := context.Cause(request.Context()); errors.Is(cause, context.DeadlineExceeded) { // it tells the try's deadline from the call's
		err = cause
	}
	return &ConnectionError{Method: request.Method, URL: place(request.URL), Err: err}
}

// place is a URL as errors show it: selectors may tell more than a log should hold.
func place(full *url.URL) string {
	short := *full
	short.RawQuery = ""
	return short.String()
}
