//go:build integration

package passthrough_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/passthrough"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
)

// world is a real API server and a pass-through to it.
type world struct {
	t       *testing.T
	host    string
	admin   *http.Client // of the API server
	bare    *http.Client // trusts it, has no credentials
	upgrade *http.Client // the same, over HTTP/1.1
	krm     *httptest.Server
	ns      string
	token   string
}

func newWorld(t *testing.T, mode string) *world {
	t.Helper()
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster that may be written to; hack/with-cluster.sh starts one")
	}
	config, err := kube.Config(path, "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, host: strings.TrimSuffix(config.Host, "/")}
	if w.admin, err = rest.HTTPClientFor(config); err != nil {
		t.Fatal(err)
	}
	bare := rest.AnonymousClientConfig(config)
	if w.bare, err = rest.HTTPClientFor(bare); err != nil {
		t.Fatal(err)
	}
	bare.NextProtos = []string{"http/1.1"}
	if w.upgrade, err = rest.HTTPClientFor(bare); err != nil {
		t.Fatal(err)
	}
	base, transport, err := kube.Upstream(config)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	guard, err := auth.Open(auth.Config{Mode: auth.ModeNone}, nil, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	proxy := passthrough.New(passthrough.Config{Mode: mode}, base, transport, nil, log)
	w.krm = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, err := guard.Authenticate(r.Context(), r)
		if err != nil {
			t.Error(err)
		}
		proxy.Forward(rw, r, user)
	}))
	t.Cleanup(w.krm.Close)
	w.reader()
	return w
}

// reader makes a namespace whose service account may do much in it.
func (w *world) reader() {
	w.t.Helper()
	w.ns = "krm-pass-" + strings.ToLower(rand.Text()[:8])
	create := func(path, body string) string {
		w.t.Helper()
		resp, text := w.ask(w.admin, w.host, "POST", path, body)
		if resp.StatusCode >= 300 {
			w.t.Fatalf("create %s: %d %s", path, resp.StatusCode, text)
		}
		return text
	}
	create("/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":%q}}`, w.ns))
	w.t.Cleanup(func() {
		req, err := http.NewRequest(http.MethodDelete, w.host+"/api/v1/namespaces/"+w.ns, nil)
		if err == nil {
			if resp, err := w.admin.Do(req); err == nil {
				resp.Body.Close()
			}
		}
	})
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	create("/api/v1/namespaces/"+w.ns+"/serviceaccounts", `{"metadata":{"name":"reader"}}`)
	create(rbac+w.ns+"/roles", `{"metadata":{"name":"r"},"rules":[
		{"apiGroups":[""],"resources":["pods","pods/log","pods/exec","events"],"verbs":["*"]},
		{"apiGroups":[""],"resources":["configmaps"],"verbs":["*"]}]}`)
	create(rbac+w.ns+"/rolebindings", fmt.Sprintf(
		`{"metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"reader","namespace":%q}]}`, w.ns))
	var answer authenticationv1.TokenRequest
	if err := json.Unmarshal([]byte(create("/api/v1/namespaces/"+w.ns+"/serviceaccounts/reader/token", `{"spec":{"expirationSeconds":600}}`)), &answer); err != nil {
		w.t.Fatal(err)
	}
	w.token = answer.Status.Token
	for range 100 { // until the role counts
		if resp, _ := w.ask(w.bare, w.host, "GET", w.path("/configmaps"), "", w.hers()...); resp.StatusCode == http.StatusOK {
			create("/api/v1/namespaces/"+w.ns+"/pods", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"none"}],"automountServiceAccountToken":false}}`)
			w.running()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatal("the role does not count")
}

// running waits until the pod is said to run, so that answers about it stay the same.
func (w *world) running() {
	w.t.Helper()
	for range 200 {
		if _, text := w.ask(w.admin, w.host, "GET", w.path("/pods/p"), ""); strings.Contains(text, `"phase":"Running"`) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatal("the pod does not run")
}

func (w *world) hers() []string { return []string{"Authorization", "Bearer " + w.token} }

func (w *world) path(rest string) string { return "/api/v1/namespaces/" + w.ns + rest }

func (w *world) ask(client *http.Client, host, method, path, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, host+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(text)
}

// same compares the answer through KRM with the API server's own.
func (w *world) same(want int, method, path, body string, header ...string) {
	w.t.Helper()
	client := w.bare
	for _, text := range header {
		if text == "Upgrade" {
			client = w.upgrade
		}
	}
	direct, theirs := w.ask(client, w.host, method, path, body, header...)
	through, ours := w.ask(http.DefaultClient, w.krm.URL, method, path, body, header...)
	ofLists := regexp.MustCompile(`"metadata":{"resourceVersion":"[0-9]+"}`) // which any write elsewhere moves on
	theirs, ours = ofLists.ReplaceAllString(theirs, ""), ofLists.ReplaceAllString(ours, "")
	if direct.StatusCode != through.StatusCode || theirs != ours || want != 0 && direct.StatusCode != want {
		w.t.Errorf("%s %s: through KRM %d %.200s; directly %d %.200s; want %d", method, path, through.StatusCode, ours, direct.StatusCode, theirs, want)
	}
	if through.Header.Get(passthrough.Header) != "true" || direct.Header.Get("Content-Type") != through.Header.Get("Content-Type") {
		w.t.Errorf("%s %s: header %v, directly %v", method, path, through.Header, direct.Header)
	}
}

func TestPassThroughToARealServer(t *testing.T) {
	w := newWorld(t, passthrough.ModeAll)
	hers := w.hers()
	w.same(200, "GET", w.path("/configmaps"), "", hers...)
	w.same(200, "GET", w.path("/events?limit=5"), "", hers...)
	w.same(200, "GET", "/version", "", hers...)
	w.same(403, "GET", w.path("/secrets"), "", hers...)
	w.same(403, "GET", "/api/v1/nodes", "", hers...)
	w.same(404, "GET", w.path("/pods/none/log?follow=true"), "", hers...)
	w.same(0, "GET", w.path("/pods/p/log"), "", hers...) // there is no kubelet
	w.same(401, "GET", w.path("/pods"), "", "Authorization", "Bearer nonsense")
	w.same(400, "POST", w.path("/configmaps?dryRun=All&fieldManager=x"), `[]`, hers...)
}

// Without a token of the caller's there is nobody: KRM's own rights never count.
func TestPassThroughLendsNoRights(t *testing.T) {
	w := newWorld(t, passthrough.ModeAll)
	w.same(0, "GET", "/api/v1/secrets", "")
	if resp, text := w.ask(http.DefaultClient, w.krm.URL, "GET", "/api/v1/secrets", "", "Impersonate-User", "admin", "Impersonate-Group", "system:masters", "X-Remote-User", "admin", "X-Remote-Group", "system:masters"); resp.StatusCode != 401 && resp.StatusCode != 403 {
		t.Errorf("nobody reads secrets: %d %.100s", resp.StatusCode, text)
	}
	w.same(403, "GET", "/api/v1/secrets", "", append(w.hers(), "Impersonate-User", "admin", "Impersonate-Group", "system:masters")...)
}

func TestPassThroughWritesAndWatches(t *testing.T) {
	w := newWorld(t, passthrough.ModeAll)
	req, err := http.NewRequestWithContext(t.Context(), "GET", w.krm.URL+w.path("/configmaps?watch=1&fieldSelector=metadata.name%3Dseen"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	watch, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	events := bufio.NewReader(watch.Body)
	for _, step := range []struct{ method, path, body, event string }{
		{"POST", "/configmaps", `{"metadata":{"name":"seen"},"data":{"k":"1"}}`, "ADDED"},
		{"PUT", "/configmaps/seen", `{"metadata":{"name":"seen"},"data":{"k":"2"}}`, "MODIFIED"},
		{"PATCH", "/configmaps/seen", `{"data":{"k":"3"}}`, "MODIFIED"},
		{"DELETE", "/configmaps/seen", "", "DELETED"},
	} {
		header := w.hers()
		path := w.path(step.path)
		req, err := http.NewRequestWithContext(t.Context(), step.method, w.krm.URL+path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header[0], header[1])
		req.Header.Set("Content-Type", map[bool]string{true: "application/merge-patch+json", false: "application/json"}[step.method == "PATCH"])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", step.method, resp.StatusCode, text)
		}
		line, err := events.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, `{"type":"`+step.event+`"`) {
			t.Fatalf("after %s: %.100s, %v; want %s", step.method, line, err, step.event)
		}
	}
}

// Its node has no kubelet, so what the API server tells about an upgrade is that it
// cannot reach one; that this comes through means that the upgrade reached it.
func TestPassThroughOfUpgrades(t *testing.T) {
	w := newWorld(t, passthrough.ModeAll)
	spdy := append(w.hers(), "Connection", "Upgrade", "Upgrade", "SPDY/3.1", "X-Stream-Protocol-Version", "v4.channel.k8s.io")
	w.same(0, "POST", w.path("/pods/p/exec?command=sh&stdout=true"), "", spdy...)
	w.same(404, "POST", w.path("/pods/none/exec?command=sh&stdout=true"), "", spdy...)
	websocket := append(w.hers(), "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol", "v5.channel.k8s.io")
	w.same(101, "GET", w.path("/pods/p/exec?command=sh&stdout=true"), "", websocket...)
	w.same(403, "GET", w.path("/pods/p/portforward?ports=80"), "", websocket...)
}

func TestPassThroughOfReadsOnly(t *testing.T) {
	w := newWorld(t, passthrough.ModeReads)
	w.same(200, "GET", w.path("/configmaps"), "", w.hers()...)
	for _, method := range []string{"POST", "DELETE"} {
		if resp, text := w.ask(http.DefaultClient, w.krm.URL, method, w.path("/configmaps"), `{"metadata":{"name":"x"}}`, w.hers()...); resp.StatusCode != 403 || !strings.Contains(text, "--passthrough=all") {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
	if resp, text := w.ask(http.DefaultClient, w.krm.URL, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		fmt.Sprintf(`{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"resourceAttributes":{"verb":"list","resource":"pods","namespace":%q}}}`, w.ns), w.hers()...); resp.StatusCode != 201 || !strings.Contains(text, `"allowed":true`) {
		t.Errorf("auth can-i: %d %s", resp.StatusCode, text)
	}
}
