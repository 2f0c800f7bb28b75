package passthrough

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
)

// Header marks answers that are the API server's and not KRM's.
const Header = "Krm-Passthrough"

// writeTimeout is how long a client may take to accept one piece of an answer.
const writeTimeout = 30 * time.Second

// Proxy sends requests to the API server. It may be used from several goroutines
// at once.
type Proxy struct {
	mode    string
	reverse *httputil.ReverseProxy
	metrics *metrics
	log     *slog.Logger
}

// New returns a Proxy. upstream is the API server's base URL; transport trusts it
// and has no credentials. registry may be nil.
func New(config Config, upstream *url.URL, transport http.RoundTripper, registry prometheus.Registerer, log *slog.Logger) *Proxy {
	p := &Proxy{mode: config.Mode, metrics: newMetrics(registry), log: log}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { rewrite(r, upstream) },
		Transport:      transport,
		FlushInterval:  -1, // watches and logs: every piece goes on at once
		ModifyResponse: p.answered,
		ErrorHandler:   p.failed,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return p
}

// Forward sends r to the API server with user's own token and copies the answer to
// w, or answers with a Status why it does not. It returns when the answer, or an
// upgraded connection, has ended. Answers of the API server carry Header.
func (p *Proxy) Forward(w http.ResponseWriter, r *http.Request, user auth.User) {
	if err := p.permit(r, user); err != nil {
		p.metrics.requests.WithLabelValues("refused", strconv.Itoa(int(err.Code))).Inc()
		writeStatus(w, err)
		return
	}
	p.metrics.open.Inc()
	defer p.metrics.open.Dec()
	// Bodies and streams take as long as they take, but no piece of an answer waits
	// for a slow reader, nor does what is left in buffers at the end.
	c := http.NewResponseController(w)
	_, _ = c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})
	defer func() { _ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) }()
	ctx := context.WithValue(r.Context(), callerKey{}, user)
	p.reverse.ServeHTTP(&patient{ResponseWriter: w}, r.WithContext(ctx))
}

// callerKey is where Forward leaves the caller for rewrite.
type callerKey struct{}

// rewrite makes the request that goes up. ReverseProxy has removed what concerns
// the connection alone, and what a client claims to have forwarded.
func rewrite(r *httputil.ProxyRequest, upstream *url.URL) {
	r.SetURL(upstream)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // nothing was decided by it, so it may be odd
	r.SetXForwarded()                      // the API server's audit log names the caller's address
	user, _ := r.In.Context().Value(callerKey{}).(auth.User)
	header := r.Out.Header
	header.Del("Cookie") // KRM's own, if any
	header.Del("Authorization")
	for name := range header {
		if strings.HasPrefix(name, "X-Remote-") || strings.HasPrefix(name, "Impersonate-") && user.Token == "" {
			header.Del(name)
		}
	}
	if user.Token != "" {
		header.Set("Authorization", "Bearer "+user.Token)
	}
	if header.Get("Accept-Encoding") == "" {
		header.Set("Accept-Encoding", "identity") // or the transport asks for gzip, and holds pieces back
	}
}

func (p *Proxy) answered(answer *http.Response) error {
	answer.Header.Set(Header, "true")
	p.metrics.requests.WithLabelValues(kind(answer.Request), strconv.Itoa(answer.StatusCode)).Inc()
	return nil
}

// failed answers when the API server did not.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) { // the caller has gone
		panic(http.ErrAbortHandler)
	}
	p.metrics.requests.WithLabelValues(kind(r), "0").Inc()
	p.log.Warn("pass-through not answered", "method", r.Method, "path", r.URL.Path, "err", err)
	writeStatus(w, unavailable())
}

// kind is what a request is, for the metrics.
func kind(r *http.Request) string {
	switch {
	case r.Header.Get("Upgrade") != "":
		return "upgrade"
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return "read"
	}
	return "write"
}

// patient gives every piece of an answer its own deadline, and none to the time
// between two: over HTTP/2 a deadline ends a stream that says nothing, too.
type patient struct{ http.ResponseWriter }

// Write is the writer's, with a deadline.
func (p *patient) Write(piece []byte) (n int, err error) {
	p.within(func(*http.ResponseController) { n, err = p.ResponseWriter.Write(piece) })
	return n, err
}

// FlushError is the writer's, with a deadline.
func (p *patient) FlushError() (err error) {
	p.within(func(c *http.ResponseController) { err = c.Flush() })
	return err
}

// Unwrap is how http.ResponseController finds what else the writer can.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// within does something in time. Not every writer knows deadlines; those of
// connections do.
func (p *patient) within(do func(*http.ResponseController)) {
	c := http.NewResponseController(p.ResponseWriter)
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	do(c)
	_ = c.SetWriteDeadline(time.Time{})
}
