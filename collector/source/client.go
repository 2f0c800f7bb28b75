package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	maxBody       = 64 << 20
	maxPooledBody = 4 << 20
	maxHeader     = 64 << 10
	idleFor       = 3 * time.Minute // longer than any window that makes sense
)

// client asks kubelets. Redirects are not followed, and no proxy is used: our token
// goes to the node's address and nowhere else.
type client struct {
	http   *http.Client
	bearer *bearer // nil: none is sent
	most   int64   // bytes of a body
	bodies sync.Pool
}

func newClient(config *Config, access Access) (*client, error) {
	tls, err := access.tls(config)
	if err != nil {
		return nil, err
	}
	c := &client{most: maxBody, bodies: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
	if config.Prefix != DCGM && config.KubeletHTTPS && (access.Token != "" || access.TokenFile != "") {
		c.bearer = &bearer{newFile(access.TokenFile, []byte(access.Token))}
	}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: longest, KeepAlive: longest}).DialContext,
			TLSClientConfig:        tls, // HTTP/1.1: one request a connection at a time is all there is, at half the memory
			TLSHandshakeTimeout:    longest,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        idleFor,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // costs both sides more than a network of nodes does
		},
	}
	return c, nil
}

// question is what is asked of whom.
type question struct {
	node, url string
	rule      string // the resource that one must be allowed to get; "" if any may
}

// ask gets the URL and gives its body to read, which must not keep it. Its error is
// an *Error.
func (c *client) ask(ctx context.Context, q question, read func(body []byte) error) error {
	body := c.bodies.Get().(*bytes.Buffer)
	defer func() {
		if body.Cap() <= maxPooledBody {
			body.Reset()
			c.bodies.Put(body)
		}
	}()
	token, err := c.token()
	if err != nil {
		return &Error{Unauthorized, fmt.Errorf("ask node %s: %w", q.node, err)}
	}
	status, err := c.get(ctx, q.url, token, body)
	if err == nil && status == http.StatusUnauthorized && token != "" {
		// The token may have been replaced just now.
		c.bearer.file.stale()
		if newer, tokenErr := c.token(); tokenErr == nil && newer != token {
			body.Reset()
			status, err = c.get(ctx, q.url, newer, body)
		}
	}
	if err != nil {
		return q.failed(ctx, err)
	}
	if status != http.StatusOK {
		return q.refused(status, token, body.Bytes())
	}
	if err := read(body.Bytes()); err != nil {
		if ctx.Err() != nil { // a server that sees us go may end its answer as if it were whole
			return q.failed(ctx, ctx.Err())
		}
		return &Error{Unreadable, fmt.Errorf("read the answer of %s on node %s, %d bytes: %w", q.url, q.node, body.Len(), err)}
	}
	return nil
}

func (c *client) token() (string, error) {
	if c.bearer == nil {
		return "", nil
	}
	return c.bearer.token()
}

// get reads an answer's body, whatever its status is, of at most maxBody.
func (c *client) get(ctx context.Context, url, token string, body *bytes.Buffer) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("User-Agent", "krm-collector")
	request.Header.Set("Accept", accepts(url))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	limit := c.most
	if response.StatusCode != http.StatusOK {
		limit = 4 << 10 // enough for what an error says
	}
	n, err := body.ReadFrom(io.LimitReader(response.Body, limit+1))
	if err == nil && n > limit && response.StatusCode == http.StatusOK {
		err = fmt.Errorf("%w: it has more than %d bytes", errTooLarge, limit)
	}
	return response.StatusCode, err
}

func accepts(url string) string {
	if strings.HasSuffix(url, summaryPath) {
		return "application/json"
	}
	return "text/plain;version=0.0.4"
}
