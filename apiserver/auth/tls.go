package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Serving is the certificate that the server shows. It is read again when its
// files change; a pair that does not fit leaves the one before in force.
type Serving struct {
	files   watched
	current atomic.Pointer[tls.Certificate]
	ask     tls.ClientAuthType
	reloads *prometheus.CounterVec
	expires prometheus.Gauge
	log     *slog.Logger
}

// OpenServing reads the certificate that config names, and returns nil if it names
// none. registry may be nil. Whoever calls it also calls Run.
func OpenServing(config Config, registry prometheus.Registerer, log *slog.Logger) (*Serving, error) {
	if !config.TLS() {
		return nil, nil //nolint:nilnil // no TLS is no fault
	}
	s := &Serving{
		files: watched{paths: []string{config.CertFile, config.KeyFile}}, log: log,
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_auth_tls_reloads_total", Help: "Readings of the serving certificate after a change of its files, by result (ok, failed).",
		}, []string{"result"}),
		expires: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "krm_auth_tls_certificate_expiry_timestamp_seconds", Help: "When the serving certificate expires, Unix time.",
		}),
	}
	if config.Mode == ModeKubernetes {
		// Asked for, but not verified in the handshake: whose certificate is of an
		// unknown CA is told so by an answer, and may have a token as well.
		s.ask = tls.RequestClientCert
	}
	if registry != nil {
		registry.MustRegister(s.reloads, s.expires)
	}
	if err := s.reload(); err != nil {
		return nil, fmt.Errorf("read --tls-cert-file %s and --tls-private-key-file %s: %w", config.CertFile, config.KeyFile, err)
	}
	return s, nil
}

// Config is for an http.Server. It is the same for all connections; each handshake
// shows the certificate of its time.
func (s *Serving) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: s.ask,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.current.Load(), nil
		},
	}
}

// Run reads the files again whenever they change, until ctx ends, and then returns nil.
func (s *Serving) Run(ctx context.Context) error {
	return every(ctx, reloadEvery, func() {
		if err := s.reload(); err != nil {
			s.log.Error("serving certificate not read again, the one of before stays in use", "files", s.files.paths, "err", err)
		}
	})
}

func (s *Serving) reload() error {
	contents, changed, err := s.files.read()
	if err != nil || !changed {
		return err
	}
	pair, leaf, err := parsePair(contents[0], contents[1])
	if err != nil {
		s.reloads.WithLabelValues("failed").Inc()
		return err
	}
	s.current.Store(pair)
	s.reloads.WithLabelValues("ok").Inc()
	s.expires.Set(float64(leaf.NotAfter.Unix()))
	s.log.Info("serving certificate read", "subject", leaf.Subject.String(), "names", leaf.DNSNames, "expires", leaf.NotAfter)
	return nil
}

func parsePair(certificate, key []byte) (*tls.Certificate, *x509.Certificate, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, nil, err
	}
	pair.Leaf = leaf
	return &pair, leaf, nil
}
