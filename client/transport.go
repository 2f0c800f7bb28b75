package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	// A connection over HTTP/2 is asked for a sign of life after pingAfter of
	// silence, and closed after pingTimeout: all requests share it, so that closing
	// one of them is no way to leave a dead one.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

func (o Options) hasTLS() bool {
	return o.CAFile != "" || o.CAData != nil || o.ServerName != "" || o.CertFile != "" || o.KeyFile != ""
}

// newTransport is the default one with room for many requests at a time to the one host.
func newTransport(opts Options) (http.RoundTripper, error) {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has put something of its own there: it is meant to be used
		if opts.hasTLS() {
			return nil, errors.New("TLS settings are set, but http.DefaultTransport has been replaced: want them in an HTTPClient")
		}
		return http.DefaultTransport, nil
	}
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = 32
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	if opts.hasTLS() {
		config, err := opts.tls()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	return transport, nil
}

// tls makes the settings of a connection. Whatever is set, the server's certificate is checked.
func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{ServerName: o.ServerName, MinVersion: tls.VersionTLS12}
	data := o.CAData
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CAFile: %w", err)
		}
		data = text
	}
	if data != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("CAFile %q or CAData: it holds no certificate, want PEM", o.CAFile)
		}
	}
	if o.CertFile != "" {
		if _, err := o.certificate(nil); err != nil { // better now than at each request
			return nil, err
		}
		config.GetClientCertificate = o.certificate
	}
	return config, nil
}

// certificate reads the client's certificate, which may have been renewed.
func (o Options) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the client's certificate: %w", err)
	}
	return &pair, nil
}
