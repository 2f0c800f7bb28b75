// Package faultproxy stands between KRM and a real API server and does to their
// connection what networks, load balancers and bad luck do: it cuts, swallows and
// slows connections, and drops and damages single frames of watches.
package faultproxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Proxy is a reverse proxy with a certificate of its own. Who shows its token acts
// with the credentials of the configuration that it was made with.
type Proxy struct {
	Network *Network
	Frames  *Frames

	upstream  *url.URL
	transport http.RoundTripper
	forward   *httputil.ReverseProxy
	token     string
	ca        []byte
	server    *http.Server
	log       *slog.Logger
}

// New makes a proxy in front of the API server that config names. It listens
// already, and answers once Run is called.
func New(config *rest.Config, log *slog.Logger) (*Proxy, error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0
	// Each watch gets what it needs: no limit of streams per connection, and a
	// connection cut here cuts exactly one upstream.
	config.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("make the proxy's transport: %w", err)
	}
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	certificate, ca, err := newCertificate()
	if err != nil {
		return nil, err
	}
	network, err := NewNetwork()
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	p := &Proxy{
		Network: network, Frames: &Frames{},
		upstream: upstream, transport: transport, token: rand.Text(), ca: ca, log: log,
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { p.direct(r.Out) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  p.badGateway,
	}
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.serve),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// Run serves until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.server.Close() })
	defer stop()
	if err := p.server.ServeTLS(p.Network, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the proxy: %w", err)
	}
	return nil
}

// WriteKubeconfig writes how to reach the API server through the proxy.
func (p *Proxy) WriteKubeconfig(path string) error {
	const name = "through-the-proxy"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + p.Network.Addr().String(), CertificateAuthorityData: p.ca}
	cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: p.token}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	cfg.CurrentContext = name
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("write the proxy's kubeconfig: %w", err)
	}
	return nil
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), []byte(p.token)) != 1 {
		http.Error(w, "the proxy's token is missing or wrong", http.StatusUnauthorized)
		return
	}
	if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
		p.watch(w, r)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// direct turns a request to the proxy into one to the API server.
func (p *Proxy) direct(out *http.Request) {
	out.URL.Scheme, out.URL.Host, out.Host = p.upstream.Scheme, p.upstream.Host, p.upstream.Host
	out.Header.Del("Authorization") // the transport brings its own
}

func (p *Proxy) badGateway(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		p.log.Debug("upstream", "url", r.URL.Path, "err", err)
	}
	w.WriteHeader(http.StatusBadGateway)
}

// watch passes a watch on, frame by frame.
func (p *Proxy) watch(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.Header.Del("Connection")
	out.Header.Del("Accept-Encoding") // frames must be readable
	p.direct(out)
	answer, err := p.transport.RoundTrip(out)
	if err != nil {
		p.badGateway(w, r, err)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		if name != "Connection" && name != "Transfer-Encoding" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(answer.StatusCode)
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	if answer.StatusCode == http.StatusGone {
		p.Frames.noteExpired()
	}
	if answer.StatusCode != http.StatusOK {
		_, _ = io.Copy(w, answer.Body)
		return
	}
	if !p.relay(w, flush, r, answer.Body) {
		panic(http.ErrAbortHandler) // breaks the connection in the middle of the answer
	}
}

// relay copies the frames of one watch until either side ends. It returns false if
// the answer must break off.
func (p *Proxy) relay(w io.Writer, flush func() error, r *http.Request, body io.Reader) (whole bool) {
	resource := resourceOf(r.URL.Path)
	initial := r.URL.Query().Get("sendInitialEvents") == "true"
	frames := bufio.NewReaderSize(body, 256<<10)
	for {
		line, err := frames.ReadBytes('\n')
		if len(line) > 0 {
			out, goOn := line, true
			if !initial {
				out, goOn = p.Frames.judge(resource, line).apply(line)
			} else if endsInitial(line) {
				initial = false
			}
			if _, err := w.Write(out); err != nil {
				return true
			}
			// While more is waiting, the next frame will flush this one.
			if frames.Buffered() == 0 || !goOn {
				if flush() != nil {
					return true
				}
			}
			if !goOn {
				return false
			}
		}
		if err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
