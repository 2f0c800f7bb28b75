package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

// authoritiesOf returns a pool with the authority in DIR/pki/file.crt.
func authoritiesOf(t *testing.T, d Dir, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(d.pki(file + ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s.crt holds no certificate", file)
	}
	return pool
}

func leafOf(t *testing.T, d Dir, file string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(d.pki(file+".crt"), d.pki(file+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestPKI(t *testing.T) {
	d, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := makePKI(d, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	old := leafOf(t, d, "admin")
	f := func(file, ca, host string, usage x509.ExtKeyUsage) {
		t.Helper()
		_, err := leafOf(t, d, file).Verify(x509.VerifyOptions{
			Roots: authoritiesOf(t, d, ca), DNSName: host, KeyUsages: []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			t.Errorf("%s by %s: %v", file, ca, err)
		}
	}
	for range 2 { // the second time with the authorities of the first
		f("apiserver", "ca", "127.0.0.1", x509.ExtKeyUsageServerAuth)
		f("apiserver", "ca", serviceIP, x509.ExtKeyUsageServerAuth)
		f("apiserver", "ca", "192.0.2.1", x509.ExtKeyUsageServerAuth)
		f("apiserver", "ca", "kubernetes.default.svc", x509.ExtKeyUsageServerAuth)
		f("admin", "ca", "", x509.ExtKeyUsageClientAuth)
		f("kwok", "ca", "", x509.ExtKeyUsageClientAuth)
		f("front-proxy-client", "front-proxy-ca", "", x509.ExtKeyUsageClientAuth)
		if err := makePKI(d, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := old.Verify(x509.VerifyOptions{
		Roots: authoritiesOf(t, d, "ca"), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		t.Errorf("the first run's admin certificate is no longer good: %v", err)
	}
	if got := leafOf(t, d, "admin").Subject.Organization; len(got) != 1 || got[0] != "system:masters" {
		t.Errorf("admin is in groups %v", got)
	}
	if _, err := leafOf(t, d, "admin").Verify(x509.VerifyOptions{
		Roots: authoritiesOf(t, d, "ca"), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}); err == nil {
		t.Error("a client's certificate may act as a server")
	}
}
