package kube

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestReviewToken(t *testing.T) {
	var got authenticationv1.TokenReview
	c, s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"kind":"TokenReview","status":{"authenticated":true,"user":{"username":"u","uid":"1","groups":["g"],"extra":{"k":["v"]}}}}`)
	})
	status, err := c.ReviewToken(t.Context(), "SECRET")
	want := authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
		Username: "u", UID: "1", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}},
	}}
	if diff := cmp.Diff(want, status); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if s.asked[0].Method != http.MethodPost || s.asked[0].URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || got.Spec.Token != "SECRET" || got.Kind != "TokenReview" {
		t.Errorf("asked %s %v with %+v", s.asked[0].Method, s.asked[0].URL, got)
	}
}

func TestReviewAccess(t *testing.T) {
	var got authorizationv1.SubjectAccessReview
	c, s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"kind":"SubjectAccessReview","status":{"allowed":false,"reason":"because"}}`)
	})
	question := authorizationv1.SubjectAccessReviewSpec{
		User: "u", Groups: []string{"g"}, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods"},
	}
	status, err := c.ReviewAccess(t.Context(), question)
	if err != nil || status.Allowed || status.Reason != "because" {
		t.Errorf("%+v, %v", status, err)
	}
	if diff := cmp.Diff(question, got.Spec); diff != "" || s.asked[0].URL.Path != "/apis/authorization.k8s.io/v1/subjectaccessreviews" {
		t.Errorf("asked %v %s", s.asked[0].URL, diff)
	}
}

// An answer that is none must not be taken for a no.
func TestReviewsWithoutAnAnswer(t *testing.T) {
	f := func(answer http.HandlerFunc, want error) {
		t.Helper()
		c, _ := serve(t, Options{}, answer)
		token, err := c.ReviewToken(t.Context(), "SECRET")
		if err == nil || token.Authenticated || want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("token: %+v, %v", token, err)
		}
		access, err := c.ReviewAccess(t.Context(), authorizationv1.SubjectAccessReviewSpec{})
		if err == nil || access.Allowed || want != nil && !errors.Is(err, want) {
			t.Errorf("access: %+v, %v", access, err)
		}
	}
	f(refuse(http.StatusForbidden, "Forbidden", ""), object.ErrForbidden)
	f(refuse(http.StatusInternalServerError, "InternalError", ""), nil)
	f(refuse(http.StatusUnauthorized, "Unauthorized", ""), nil)
	f(say(`{"status":{"authenticated":true`), nil)
	f(say(`<html>`), nil)
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil)
	f(say(`{"status":{"authenticated":true,"allowed":true},"x":"`+strings.Repeat("x", 8*mostReview)+`"}`), nil)
}

func TestClientCAs(t *testing.T) {
	c, s := serve(t, Options{}, say(`{"kind":"ConfigMap","data":{"client-ca-file":"PEM","requestheader-client-ca-file":"other"}}`))
	text, err := c.ClientCAs(t.Context())
	if err != nil || string(text) != "PEM" || s.asked[0].URL.Path != "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication" {
		t.Errorf("%s, %v of %v", text, err, s.asked[0].URL)
	}
	c, _ = serve(t, Options{}, refuse(http.StatusNotFound, "NotFound", ""))
	if text, err := c.ClientCAs(t.Context()); err != nil || len(text) > 0 {
		t.Errorf("a cluster without: %s, %v", text, err)
	}
	c, _ = serve(t, Options{}, refuse(http.StatusForbidden, "Forbidden", ""))
	if _, err := c.ClientCAs(t.Context()); !errors.Is(err, object.ErrForbidden) {
		t.Errorf("no right: %v", err)
	}
}

func TestUpstreamHasNoCredentials(t *testing.T) {
	var got *http.Request
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pemOf(server.Certificate().Raw)
	config := &rest.Config{
		Host: server.URL + "/prefix", BearerToken: "SECRET", BearerTokenFile: "/nothing", Username: "",
		Impersonate:     rest.ImpersonationConfig{UserName: "admin"},
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		WrapTransport: func(rt http.RoundTripper) http.RoundTripper {
			t.Error("the configuration's own transport is used, which may add credentials")
			return rt
		},
	}
	base, transport, err := Upstream(config)
	if err != nil {
		t.Fatal(err)
	}
	if base.Path != "/prefix" && base.Path != "/prefix/" {
		t.Errorf("base %v", base)
	}
	f := func(upgrade, proto string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base.JoinPath("/x").String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if upgrade != "" {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", upgrade)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got.Proto != proto || got.URL.Path != "/prefix/x" || len(got.TLS.PeerCertificates) > 0 {
			t.Errorf("%s %v, want %s; certificates %d", got.Proto, got.URL, proto, len(got.TLS.PeerCertificates))
		}
		for _, name := range []string{"Authorization", "Impersonate-User"} {
			if got.Header.Get(name) != "" {
				t.Errorf("%s goes up", name)
			}
		}
	}
	f("", "HTTP/2.0")
	f("SPDY/3.1", "HTTP/1.1")
	f("websocket", "HTTP/1.1")
	if config.BearerToken == "" {
		t.Error("the configuration was changed")
	}
}

func pemOf(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}
