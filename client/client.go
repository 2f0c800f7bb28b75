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
	// CAFile and CAData hold the certificates (PEM) that vouch for an https server;
	// by default the system's do. CAFile is read once, by New.
	CAFile string
	CAData []byte
	// ServerName is the name that the server's certificate has to bear; by default
	// the base URL's host.
	ServerName string
	// CertFile and KeyFile are the client's certificate and key (PEM). They are read
	// anew for each connection, so that a renewed certificate is picked up.
	CertFile, KeyFile string
	// HTTPClient sends the requests, in place of the client's own that is made of
	// the TLS settings above and keeps connections for reuse. Its Timeout does not
	// bound watches.
	HTTPClient *http.Client
	// Token is a bearer token that is sent with each request.
	Token string
	// TokenFile is a file with a bearer token, for use instead of Token. It is read
	// anew for each request, so that a rotated token is picked up.
	TokenFile string
	// UserAgent is sent with each request; "krm-client (OS/ARCH)" by default.
	UserAgent string
	// Compression is how bodies travel: as they are by default.
	Compression Compression
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

// Compression is how answers travel.
type Compression string

const (
	// Identity sends answers as they are, and is the default, for a client that is
	// near its KRM.
	Identity Compression = "identity"
	// Gzip is for slow networks. The HTTP client has to be one that asks for gzip and
	// inflates by itself, as the default one does.
	Gzip Compression = "gzip"
)

// Client reads from one KRM. It is safe for use by many goroutines.
type Client struct {
	base        *url.URL
	http        *http.Client
	options     Options // as they were given
	userAgent   string
	compression Compression
	timeout     time.Duration
	retries     int
}

// New returns a client of the KRM at baseURL, such as http://127.0.0.1:8080 or
// https://example.com/krm. It makes no request.
func New(baseURL string, opts Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if err := opts.validate(base); err != nil {
		return nil, err
	}
	c := &Client{
		base: base, http: opts.HTTPClient, options: opts, userAgent: opts.UserAgent,
		compression: opts.Compression, timeout: opts.Timeout, retries: opts.Retries,
	}
	if c.http == nil {
		transport, err := newTransport(opts)
		if err != nil {
			return nil, err
		}
		c.http = &http.Client{Transport: transport}
	}
	if c.userAgent == "" {
		c.userAgent = fmt.Sprintf("krm-client (%s/%s)", runtime.GOOS, runtime.GOARCH)
	}
	if c.compression == "" {
		c.compression = Identity
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.retries == 0 {
		c.retries = defaultRetries
	}
	return c, nil
}

func (o Options) validate(base *url.URL) error {
	var faults []error
	refuse := func(bad bool, text string, values ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(text, values...))
		}
	}
	refuse(o.Token != "" && o.TokenFile != "", "both Token and TokenFile are set: want one of them")
	refuse(strings.ContainsAny(o.Token, "\r\n"), "the Token contains a line break: want the bare token")
	refuse(o.Timeout < 0, "the Timeout is %v: want a positive duration, or 0 for %v", o.Timeout, defaultTimeout)
	refuse(o.Compression != "" && o.Compression != Identity && o.Compression != Gzip,
		"the Compression is %q: want %s or %s", o.Compression, Identity, Gzip)
	refuse(o.CAFile != "" && o.CAData != nil, "both CAFile and CAData are set: want one of them")
	refuse((o.CertFile == "") != (o.KeyFile == ""), "one of CertFile and KeyFile is set: want both or none")
	refuse(o.hasTLS() && o.HTTPClient != nil, "TLS settings and an HTTPClient are set: want the settings in the HTTPClient's transport")
	refuse(o.hasTLS() && base.Scheme != "https", "TLS settings are set for %s: want an https URL", base)
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
	file := c.options.TokenFile
	if file == "" {
		return c.options.Token, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", file)
	}
	if strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("read the token: %s has several lines: want the bare token", file)
	}
	return token, nil
}
