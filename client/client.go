package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"
)

const (
	defaultTimeout = 30 * time.Second
	defaultRetries = 4
)

// Options are what may be changed about a Client. The zero value is the default.
type Options struct {
	// HTTPClient sends the requests: give one for TLS settings or a proxy. By
	// default the client has one of its own that keeps connections for reuse.
	HTTPClient *http.Client
	// Token is a bearer token that is sent with each request.
	Token string
	// TokenFile is a file with a bearer token, for use instead of Token. It is read
	// anew for each request, so that a rotated token is picked up.
	TokenFile string
	// UserAgent is sent with each request; "krm-client (OS/ARCH)" by default.
	UserAgent string
	// Timeout bounds each try, its answer's body included: 30 s by default. The
	// whole call is bounded by its context only.
	Timeout time.Duration
	// Retries is how many times reading is repeated after a broken connection, or
	// after 429, 502, 503 or 504: 4 by default, none if negative. The waits before
	// them grow from 100 ms to 3 s, with jitter, and are never shorter than the
	// Retry-After that the server asks for. If it asks for more than a minute, or
	// for more than the context has left, the call ends at once with its answer.
	Retries int
}

// Client reads from one KRM. It is safe for use by many goroutines.
type Client struct {
	base      *url.URL
	http      *http.Client
	token     string
	tokenFile string
	userAgent string
	timeout   time.Duration
	retries   int
}

// New returns a client of the KRM at baseURL, such as http://127.0.0.1:8080 or
// https://example.com/krm. It makes no request.
func New(baseURL string, opts Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	c := &Client{
		base: base, http: opts.HTTPClient, token: opts.Token, tokenFile: opts.TokenFile,
		userAgent: opts.UserAgent, timeout: opts.Timeout, retries: opts.Retries,
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport()}
	}
	if c.userAgent == "" {
		c.userAgent = fmt.Sprintf("krm-client (%s/%s)", runtime.GOOS, runtime.GOARCH)
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.retries == 0 {
		c.retries = defaultRetries
	}
	return c, nil
}

// newTransport is the default one with room for many requests at a time to the one host.
func newTransport() http.RoundTripper {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has put something of its own there: it is meant to be used
		return http.DefaultTransport
	}
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = 32
	return transport
}

func (o Options) validate() error {
	var faults []error
	if o.Token != "" && o.TokenFile != "" {
		faults = append(faults, errors.New("both Token and TokenFile are set: want one of them"))
	}
	if strings.ContainsAny(o.Token, "\r\n") {
		faults = append(faults, errors.New("the Token contains a line break: want the bare token"))
	}
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("the Timeout is %v: want a positive duration, or 0 for %v", o.Timeout, defaultTimeout))
	}
	return errors.Join(faults...)
}

func parseBase(text string) (*url.URL, error) {
	const want = "want http://HOST[:PORT][/PATH] or https://…, such as http://127.0.0.1:8080"
	base, err := url.Parse(text)
	if err != nil {
		var fault *url.Error
		if errors.As(err, &fault) { // its text would repeat the URL, with a password if there is one
			err = fault.Err
		}
		return nil, fmt.Errorf("base URL %q: %w: %s", withoutUser(text), err, want)
	}
	switch {
	case base.Scheme != "http" && base.Scheme != "https", base.Hostname() == "":
		return nil, fmt.Errorf("base URL %q: %s", withoutUser(text), want)
	case base.User != nil:
		return nil, fmt.Errorf("base URL %q: it holds credentials: %s, and a token in the options", withoutUser(text), want)
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, fmt.Errorf("base URL %q: it has a query or a fragment: %s", withoutUser(text), want)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = strings.TrimRight(base.RawPath, "/")
	return base, nil
}

// withoutUser cuts from a URL what may be a password, even if it cannot be parsed.
func withoutUser(text string) string {
	scheme, rest, found := strings.Cut(text, "//")
	at := strings.LastIndexByte(rest, '@')
	if !found || at < 0 {
		return text
	}
	return scheme + "//…@" + rest[at+1:]
}

// bearer returns the token to send, or "".
func (c *Client) bearer() (string, error) {
	if c.tokenFile == "" {
		return c.token, nil
	}
	text, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", c.tokenFile)
	}
	if strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("read the token: %s has several lines: want the bare token", c.tokenFile)
	}
	return token, nil
}
