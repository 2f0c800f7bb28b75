package source

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrust(t *testing.T) {
	server, node, access := kubelet(t, answer(200, tinySummary))
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, access.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(options string, access Access, text string) {
		t.Helper()
		_, err := scrape(t, opened(t, "kubernetes.summary_api:"+options, access), node, 5*time.Second)
		if text != "" {
			mustSay(t, err, Untrusted, text)
		} else if err != nil {
			t.Errorf("%s: %v", options, err)
		}
	}
	f("", access, "")
	f("", Access{Token: "secret"}, "kubeletCAFile")
	f("?kubeletInsecureTLS=true", Access{Token: "secret"}, "")
	f("?insecure=true", Access{Token: "secret"}, "")
	f("?kubeletCAFile="+ca, Access{Token: "secret"}, "")
	f("", Access{CAFile: ca}, "")
	f("?kubeletServerName=node-a", access, "kubeletServerName")
	f("?kubeletServerName=example.com", access, "")

	if _, err := Open(mustParse(t, "kubernetes:?kubeletCAFile=/nonexistent"), Access{}, quiet()); err == nil {
		t.Error("a CA file that is not there is no error")
	}
	if _, err := Open(mustParse(t, "kubernetes"), Access{CA: []byte("x")}, quiet()); err == nil {
		t.Error("a CA that is none is no error")
	}
	_ = server
}

func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(answer(200, tinySummary))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	access := Access{CA: ca, Cert: ca, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	if _, err := scrape(t, opened(t, "kubernetes.summary_api", access), nodeAt(t, server.URL), 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := scrape(t, opened(t, "kubernetes.summary_api", Access{CA: ca}), nodeAt(t, server.URL), 5*time.Second); err == nil {
		t.Error("no certificate, and no error")
	} else {
		mustSay(t, err, Untrusted, "refuses our certificate")
	}
	access.Key = nil
	if _, err := Open(mustParse(t, "kubernetes"), access, quiet()); err == nil {
		t.Error("a certificate without its key is no error")
	}
}

func mustParse(t *testing.T, flag string) Config {
	t.Helper()
	c, err := Parse(flag)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Over plain HTTP no token is sent; and who speaks no TLS gets none either.
func TestPlainHTTP(t *testing.T) {
	var seen sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"), true)
		fmt.Fprint(w, tinySummary)
	}))
	defer server.Close()
	if _, err := scrape(t, opened(t, "kubernetes.summary_api:?kubeletHttps=false", Access{Token: "secret"}), nodeAt(t, server.URL), 5*time.Second); err != nil {
		t.Error(err)
	}
	_, err := scrape(t, opened(t, "kubernetes.summary_api", Access{Token: "secret"}), nodeAt(t, server.URL), 5*time.Second)
	mustSay(t, err, Untrusted, "speaks no TLS")
	seen.Range(func(header, _ any) bool {
		if header != "" {
			t.Errorf("%s was sent in the clear", header)
		}
		return true
	})
}

func TestNoToken(t *testing.T) {
	_, node, access := kubelet(t, answer(401, ""))
	access.Token = ""
	_, err := scrape(t, opened(t, "kubernetes", access), node, 5*time.Second)
	mustSay(t, err, Unauthorized, "we have no token")
	access.TokenFile = filepath.Join(t.TempDir(), "none")
	_, err = scrape(t, opened(t, "kubernetes", access), node, 5*time.Second)
	mustSay(t, err, Unauthorized, "read our token")
}

// A token that is no longer taken is read again at once, and asked with once more.
func TestTokenIsReadAgainWhenItIsNotTaken(t *testing.T) {
	valid, questions := atomic.Value{}, atomic.Int32{}
	_, node, access := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		questions.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+valid.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, tinySummary)
	})
	path := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	access.Token, access.TokenFile = "", path
	s := opened(t, "kubernetes.summary_api", access)
	ask := func(wantQuestions int32) error {
		t.Helper()
		questions.Store(0)
		_, err := scrape(t, s, node, 5*time.Second)
		if n := questions.Load(); n != wantQuestions {
			t.Errorf("%d questions, want %d", n, wantQuestions)
		}
		return err
	}
	valid.Store("one")
	write("one")
	if err := ask(1); err != nil {
		t.Error(err)
	}
	valid.Store("two")
	mustSay(t, ask(1), Unauthorized, "TokenReview") // the file is the old one: no second question
	write("two")
	if err := ask(2); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := ask(1); err != nil { // what we have is still good
		t.Error(err)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		// Nothing of this tells the change by its time.
		if err := os.Chtimes(path, started, started); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("one")
		f := newFile(path, nil)
		is := func(want string) {
			t.Helper()
			if got, err := f.read(); err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		is("one")
		write("two")
		time.Sleep(lookEvery)
		is("one")
		time.Sleep(readEvery)
		is("two")
		write("three")
		if err := os.Chtimes(path, scraped, scraped); err != nil {
			t.Fatal(err)
		}
		is("two")
		time.Sleep(lookEvery)
		is("three")
	})
}
