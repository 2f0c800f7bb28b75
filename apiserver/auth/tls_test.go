package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	_, a.certificate, a.key = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// issue makes a certificate; it signs itself if by is nil.
func issue(t *testing.T, template *x509.Certificate, by *authority) (tls.Certificate, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if by == nil {
		by = &authority{template, key}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, parsed, key
}

// client issues a certificate for a user.
func (a *authority) client(t *testing.T, subject pkix.Name, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, do := range change {
		do(template)
	}
	pair, _, _ := issue(t, template, a)
	return pair
}

// pair writes a serving certificate for 127.0.0.1 into folder.
func (a *authority) pair(t *testing.T, folder, name string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	pair, _, key := issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"krm.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a)
	text, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: text},
	} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServingCertificateIsReadAgain(t *testing.T) {
	ca, folder := newAuthority(t, "ca"), t.TempDir()
	ca.pair(t, filepath.Join(folder, "1"), "first")
	ca.pair(t, filepath.Join(folder, "2"), "second")
	ca.pair(t, filepath.Join(folder, "mixed"), "third")
	key, err := os.ReadFile(filepath.Join(folder, "1", "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "mixed", "tls.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	swap := func(to string) { // as Kubernetes does in a mounted Secret
		t.Helper()
		if err := os.Symlink(to, filepath.Join(folder, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "next"), filepath.Join(folder, "data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("1")
	config := Config{CertFile: filepath.Join(folder, "data", "tls.crt"), KeyFile: filepath.Join(folder, "data", "tls.key")}
	log := &counter{}
	registry := prometheus.NewRegistry()
	synctest.Test(t, func(t *testing.T) {
		serving, err := OpenServing(config, registry, slog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = serving.Run(t.Context()) }()
		time.Sleep(reloadEvery / 2) // so that no pair is swapped while it is being read
		shows := func(want string) {
			t.Helper()
			time.Sleep(2 * reloadEvery)
			pair, err := serving.Config().GetCertificate(nil)
			if err != nil || pair.Leaf.Subject.CommonName != want {
				t.Errorf("%v, %v; want %s", pair.Leaf.Subject, err, want)
			}
			if got := testutil.ToFloat64(serving.expires); got != float64(pair.Leaf.NotAfter.Unix()) {
				t.Errorf("expires at %v, want %v", got, pair.Leaf.NotAfter.Unix())
			}
		}
		shows("first")
		swap("2")
		shows("second")
		swap("mixed")
		shows("second")
		swap("nothing")
		shows("second")
		time.Sleep(time.Minute)
		if n := log.errors.Load(); n != 2 {
			t.Errorf("a pair that does not fit and one that is missing are logged %d times", n)
		}
		swap("1")
		shows("first")
	})
	if _, err := OpenServing(Config{CertFile: "/nothing", KeyFile: "/nothing"}, nil, slog.New(log)); err == nil || !strings.Contains(err.Error(), "--tls-cert-file /nothing") {
		t.Errorf("a missing certificate: %v", err)
	}
	if serving, err := OpenServing(Config{}, nil, slog.New(log)); serving != nil || err != nil {
		t.Errorf("no certificate: %v, %v", serving, err)
	}
}

// secured is a server with TLS that answers with who asks.
func secured(t *testing.T, g *Guard) (url string, ask func(certificates ...tls.Certificate) (int, string)) {
	t.Helper()
	ca, folder := newAuthority(t, "serving"), t.TempDir()
	ca.pair(t, folder, "krm")
	serving, err := OpenServing(Config{
		Mode: ModeKubernetes, CertFile: filepath.Join(folder, "tls.crt"), KeyFile: filepath.Join(folder, "tls.key"),
	}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := g.Authenticate(r.Context(), r)
		if err != nil {
			http.Error(w, err.Error(), code(err))
			return
		}
		_, _ = io.WriteString(w, user.Name+" "+strings.Join(user.Groups, ","))
	}))
	server.EnableHTTP2 = true
	server.Listener = tls.NewListener(server.Listener, serving.Config())
	server.Start()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	return server.URL, func(certificates ...tls.Certificate) (int, string) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: "krm.test",
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(certificates) == 0 {
					return &tls.Certificate{}, nil
				}
				return &certificates[0], nil // whatever CAs the server names
			},
		}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(strings.Replace(server.URL, "http:", "https:", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
}

func TestClientCertificates(t *testing.T) {
	ca, other := newAuthority(t, "cluster"), newAuthority(t, "other")
	f := newFake()
	g := guarded(t, f)
	_, ask := secured(t, g)
	is := func(want int, text string, certificates ...tls.Certificate) {
		t.Helper()
		if status, got := ask(certificates...); status != want || got != text {
			t.Errorf("%d %s, want %d %s", status, got, want, text)
		}
	}
	certificates := g.mode.(*cluster).certificates
	jane := pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}}
	good := ca.client(t, jane)
	is(503, "the API server cannot be asked now whose certificate this is: try again later", good)
	if err := certificates.refresh(t.Context()); err != nil { // a cluster without client certificates
		t.Fatal(err)
	}
	is(401, "Unauthorized", good)
	f.cas = ca.pem()
	if err := certificates.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // verified, remembered
		is(200, "jane dev,ops,system:authenticated", good)
	}
	is(401, "Unauthorized")
	is(401, "Unauthorized", other.client(t, jane))
	is(401, "Unauthorized", ca.client(t, pkix.Name{Organization: []string{"dev"}}))
	is(401, "Unauthorized", ca.client(t, jane, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	is(401, "Unauthorized", ca.client(t, jane, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}))
	f.away = errDown
	if err := certificates.refresh(t.Context()); err == nil {
		t.Error("an outage is no error")
	}
	is(200, "jane dev,ops,system:authenticated", good) // the last CA stays
	f.away, f.cas = nil, other.pem()
	if err := certificates.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	is(401, "Unauthorized", good) // what was remembered went with its CA
	f.cas = []byte("no PEM")
	if err := certificates.refresh(t.Context()); err == nil {
		t.Error("a CA that is none is no error")
	}
	is(200, "jane dev,ops,system:authenticated", other.client(t, jane))
}

func TestCertificateUsers(t *testing.T) {
	ca := newAuthority(t, "cluster")
	_, leaf, _ := issue(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "jane", Organization: []string{"dev"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	f := newFake()
	f.cas = ca.pem()
	g := guarded(t, f)
	if err := g.mode.(*cluster).certificates.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := byToken("unknown") // the certificate goes first
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	user, err := g.Authenticate(t.Context(), r)
	if err != nil || !user.Certificate || user.Token != "" {
		t.Errorf("%v, certificate %v, %v", user, user.Certificate, err)
	}
	if diff := cmp.Diff([]string{"dev", groupAuthenticated}, user.Groups); diff != "" {
		t.Error(diff)
	}
}
