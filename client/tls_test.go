package client_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// identity writes a self-signed client certificate and its key.
func identity(t *testing.T, name, certFile, keyFile string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{certFile: pemOf(certificate), keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	caFile, certFile, keyFile := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	identity(t, "me", certFile, keyFile)
	var who string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who = ""
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		reply(200, onePod)(w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pemOf(server.Certificate())
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(opts client.Options, wantWho, wantErr string) {
		t.Helper()
		opts.Retries = -1
		krm := connect(t, server.URL, opts)
		_, _, err := krm.Pods("").List(t.Context(), client.ListOptions{})
		clientset, setupErr := kubernetes.NewForConfig(krm.RESTConfig())
		if setupErr != nil {
			t.Fatal(setupErr)
		}
		for _, err := range []error{err, second(clientset.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}))} {
			if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%+v: got %v, want %q", opts, err, wantErr)
			}
		}
		if err == nil && who != wantWho {
			t.Errorf("%+v: the server saw %q, want %q", opts, who, wantWho)
		}
	}
	f(client.Options{}, "", "unknown authority")
	f(client.Options{CAData: ca}, "", "")
	f(client.Options{CAFile: caFile}, "", "")
	f(client.Options{CAFile: caFile, ServerName: "example.com"}, "", "")
	f(client.Options{CAFile: caFile, ServerName: "other.org"}, "", "other.org")
	f(client.Options{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, "me", "")
	f(client.Options{HTTPClient: server.Client()}, "", "")
}

func second[T any](_ T, err error) error { return err }

func TestClientCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	identity(t, "first", certFile, keyFile)
	var who string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who = r.TLS.PeerCertificates[0].Subject.CommonName
		w.Header().Set("Connection", "close")
		reply(200, onePod)(w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	krm := connect(t, server.URL, client.Options{CAData: pemOf(server.Certificate()), CertFile: certFile, KeyFile: keyFile})
	for _, want := range []string{"first", "second"} {
		identity(t, want, certFile, keyFile)
		if _, _, err := krm.Pods("").List(t.Context(), client.ListOptions{}); err != nil || who != want {
			t.Errorf("the server saw %q (%v), want %q", who, err, want)
		}
	}
}

func TestNewRefusesTLS(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(url string, opts client.Options, want string) {
		t.Helper()
		if krm, err := client.New(url, opts); err == nil || krm != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", opts, err, want)
		}
	}
	f("https://host", client.Options{CAFile: filepath.Join(dir, "none")}, "read the CAFile")
	f("https://host", client.Options{CAFile: empty}, "holds no certificate")
	f("https://host", client.Options{CAData: bytes.Repeat([]byte("x"), 9)}, "holds no certificate")
	f("https://host", client.Options{CAFile: empty, CAData: []byte("x")}, "both CAFile and CAData")
	f("https://host", client.Options{CertFile: empty}, "want both or none")
	f("https://host", client.Options{CertFile: empty, KeyFile: empty}, "client's certificate")
	f("https://host", client.Options{ServerName: "a", HTTPClient: http.DefaultClient}, "HTTPClient")
	f("http://host", client.Options{CAFile: empty}, "want an https URL")
	f("http://host", client.Options{Compression: "zip"}, `"zip": want identity or gzip`)
}
