//go:build integration

package auth_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
)

// believed is how long the tests' guards believe an allow.
const believed = 200 * time.Millisecond

// cluster is a real one, as its administrator and as nobody.
type cluster struct {
	t      *testing.T
	config *rest.Config
	admin  *http.Client
	bare   *http.Client
	guard  *auth.Guard
}

func connect(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster that may be written to; hack/with-cluster.sh starts one")
	}
	config, err := kube.Config(path, "")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, config: config}
	if c.admin, err = rest.HTTPClientFor(config); err != nil {
		t.Fatal(err)
	}
	if c.bare, err = rest.HTTPClientFor(rest.AnonymousClientConfig(config)); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client, err := kube.Connect(config, kube.Options{}, log)
	if err != nil {
		t.Fatal(err)
	}
	c.guard, err = auth.Open(auth.Config{Mode: auth.ModeKubernetes, AllowTTL: believed, OutageBound: time.Minute}, client, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.guard.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// send asks the API server and returns status and body.
func (c *cluster) send(client *http.Client, method, path, body string, header ...string) (int, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, strings.TrimSuffix(c.config.Host, "/")+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, text
}

func (c *cluster) create(path, body string) []byte {
	c.t.Helper()
	status, text := c.send(c.admin, http.MethodPost, path, body)
	if status >= 300 {
		c.t.Fatalf("create %s: %d %s", path, status, text)
	}
	return text
}

// reader makes a namespace whose service account "reader" may do what rules say in
// it, and returns its name and a token.
func (c *cluster) reader(rules string) (namespace, token string) {
	c.t.Helper()
	namespace = "krm-auth-" + strings.ToLower(rand.Text()[:8])
	c.create("/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":%q}}`, namespace))
	c.t.Cleanup(func() {
		req, err := http.NewRequest(http.MethodDelete, strings.TrimSuffix(c.config.Host, "/")+"/api/v1/namespaces/"+namespace, nil)
		if err == nil {
			if resp, err := c.admin.Do(req); err == nil {
				resp.Body.Close()
			}
		}
	})
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	c.create("/api/v1/namespaces/"+namespace+"/serviceaccounts", `{"metadata":{"name":"reader"}}`)
	c.create(rbac+namespace+"/roles", `{"metadata":{"name":"r"},"rules":`+rules+`}`)
	c.create(rbac+namespace+"/rolebindings", fmt.Sprintf(
		`{"metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"reader","namespace":%q}]}`, namespace))
	var answer authenticationv1.TokenRequest
	if err := json.Unmarshal(c.create("/api/v1/namespaces/"+namespace+"/serviceaccounts/reader/token", `{"spec":{"expirationSeconds":600}}`), &answer); err != nil {
		c.t.Fatal(err)
	}
	return namespace, answer.Status.Token
}

// ask has the guard decide on a request, and returns the Status of its refusal.
func (c *cluster) ask(method, path string, header ...string) (auth.User, *metav1.Status) {
	c.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return c.decide(r)
}

func (c *cluster) decide(r *http.Request) (auth.User, *metav1.Status) {
	c.t.Helper()
	user, err := c.guard.Authenticate(c.t.Context(), r)
	if err == nil {
		_, err = c.guard.Authorize(c.t.Context(), user, auth.AttributesOf(r))
	}
	if err == nil {
		return user, nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		c.t.Fatalf("%v is no status", err)
	}
	answer := status.Status()
	return user, &answer
}

// eventually waits for the API server's own caches.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 100 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(what)
}

// Every refusal is the API server's own, to the letter, and so is every allow.
func TestAuthDecidesAsTheAPIServer(t *testing.T) {
	c := connect(t)
	ns, token := c.reader(`[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list","watch"]},
		{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["one"],"verbs":["get","list"]},
		{"apiGroups":[""],"resources":["namespaces"],"verbs":["get"]},
		{"apiGroups":["apps"],"resources":["deployments/scale"],"verbs":["get"]}]`)
	bearer := "Bearer " + token
	eventually(t, "the role does not count", func() bool {
		status, _ := c.send(c.bare, "GET", "/api/v1/namespaces/"+ns+"/pods", "", "Authorization", bearer)
		return status == http.StatusOK
	})
	allowed, refused := 0, 0
	for _, path := range []string{
		"/api/v1/namespaces/NS/pods", "/api/v1/namespaces/NS/pods/x", "/api/v1/namespaces/NS/pods?watch=1&timeoutSeconds=1", "/api/v1/pods",
		"/api/v1/pods?watch=1", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/NS/pods/x/log", "/api/v1/namespaces/NS/pods/x/status",
		"/api/v1/namespaces/NS/configmaps", "/api/v1/namespaces/NS/configmaps/one", "/api/v1/namespaces/NS/configmaps/two",
		"/api/v1/namespaces/NS/configmaps?fieldSelector=metadata.name%3Done", "/api/v1/namespaces/NS/secrets", "/api/v1/namespaces/NS/secrets/a",
		"/api/v1/namespaces", "/api/v1/namespaces/NS", "/api/v1/namespaces/default", "/api/v1/nodes", "/api/v1/nodes/x",
		"/apis/apps/v1/namespaces/NS/deployments", "/apis/apps/v1/namespaces/NS/deployments/d/scale", "/apis/apps/v1/deployments",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/version", "/api", "/apis/apps/v1", "/metrics", "/openapi/v3", "/logs/a",
	} {
		path = strings.ReplaceAll(path, "NS", ns)
		_, mine := c.ask("GET", path, "Authorization", bearer)
		code, text := c.send(c.bare, "GET", path, "", "Authorization", bearer)
		if code != http.StatusForbidden { // allowed: what is found there is another matter
			allowed++
			if mine != nil {
				t.Errorf("%s: refused, %s; the API server says %d", path, mine.Message, code)
			}
			continue
		}
		refused++
		var theirs metav1.Status
		if err := json.Unmarshal(text, &theirs); err != nil {
			t.Fatal(err)
		}
		if mine == nil {
			t.Errorf("%s: allowed; the API server: %s", path, theirs.Message)
			continue
		}
		if diff := cmp.Diff(&theirs, mine, cmpopts.IgnoreFields(metav1.Status{}, "TypeMeta")); diff != "" {
			t.Errorf("%s (-the API server +krm):\n%s", path, diff)
		}
	}
	if allowed < 8 || refused < 12 {
		t.Errorf("%d allowed, %d refused: too few to compare", allowed, refused)
	}

	for _, wrong := range []string{token + "x", "nonsense", strings.Replace(token, ".", "_", 1)} {
		_, mine := c.ask("GET", "/api/v1/pods", "Authorization", "Bearer "+wrong)
		code, text := c.send(c.bare, "GET", "/api/v1/pods", "", "Authorization", "Bearer "+wrong)
		var theirs metav1.Status
		if err := json.Unmarshal(text, &theirs); err != nil || mine == nil || code != int(mine.Code) || theirs.Message != mine.Message || theirs.Reason != mine.Reason {
			t.Errorf("a wrong token: %+v, the API server says %d %+v", mine, code, theirs)
		}
	}
}

func TestAuthSeesChangesOfRights(t *testing.T) {
	c := connect(t)
	ns, token := c.reader(`[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]`)
	path, bearer := "/api/v1/namespaces/"+ns+"/pods", "Bearer "+token
	may := func() bool { _, status := c.ask("GET", path, "Authorization", bearer); return status == nil }
	eventually(t, "a role does not count", may)
	if status, text := c.send(c.admin, "DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/"+ns+"/rolebindings/r", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	eventually(t, "a role that is gone counts on", func() bool { return !may() })
	if status, text := c.send(c.admin, "DELETE", "/api/v1/namespaces/"+ns+"/serviceaccounts/reader", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	eventually(t, "the token of a service account that is gone counts on", func() bool {
		_, status := c.ask("GET", path, "Authorization", bearer)
		return status != nil && status.Code == http.StatusUnauthorized
	})
}

// Users are who the API server says they are: by token, by certificate, and
// impersonated.
func TestAuthKnowsUsersAsTheAPIServer(t *testing.T) {
	c := connect(t)
	ns, token := c.reader(`[]`)
	const reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	same := func(user auth.User, text []byte) {
		t.Helper()
		var theirs authenticationv1.SelfSubjectReview
		if err := json.Unmarshal(text, &theirs); err != nil || theirs.Status.UserInfo.Username == "" {
			t.Fatalf("%v: %s", err, text)
		}
		mine := authenticationv1.UserInfo{Username: user.Name, UID: user.UID, Groups: user.Groups}
		if diff := cmp.Diff(theirs.Status.UserInfo, mine, cmpopts.IgnoreFields(mine, "Extra"), cmpopts.SortSlices(strings.Compare)); diff != "" {
			t.Errorf("(-the API server +krm):\n%s", diff)
		}
		for key, values := range theirs.Status.UserInfo.Extra {
			if !slices.Equal(user.Extra[key], values) {
				t.Errorf("extra %s: %v, the API server says %v", key, user.Extra[key], values)
			}
		}
	}
	ask := `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`
	user, _ := c.ask("GET", "/api", "Authorization", "Bearer "+token)
	_, text := c.send(c.bare, "POST", reviews, ask, "Authorization", "Bearer "+token)
	same(user, text)

	config, err := rest.TLSConfigFor(c.config)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := certificate(config)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(header ...string) *http.Request {
		r := httptest.NewRequest("GET", "/api/v1/namespaces/"+ns+"/secrets", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair}}
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		return r
	}
	eventually(t, "the CA is not read", func() bool { user, _ = c.decide(shown()); return user.Name != "" })
	_, text = c.send(c.admin, "POST", reviews, ask)
	same(user, text)
	if _, status := c.decide(shown()); status != nil || !user.Certificate {
		t.Errorf("the administrator may not: %+v", status)
	}

	as := []string{"Impersonate-User", "system:serviceaccount:" + ns + ":reader"}
	user, status := c.decide(shown(as...))
	_, text = c.send(c.admin, "POST", reviews, ask, as...)
	same(user, text)
	if status == nil || status.Code != http.StatusForbidden {
		t.Errorf("the administrator, as someone who may nothing: %+v", status)
	}
	as = []string{"Impersonate-User", "jane", "Impersonate-Group", "a", "Impersonate-Group", "b", "Impersonate-Extra-Some%2fkey", "v"}
	user, _ = c.decide(shown(as...))
	_, text = c.send(c.admin, "POST", reviews, ask, as...)
	same(user, text)

	// Servers word this one differently since they know impersonation for some verbs only.
	_, mine := c.ask("GET", "/api/v1/pods", append(as, "Authorization", "Bearer "+token)...)
	code, _ := c.send(c.bare, "GET", "/api/v1/pods", "", append(as, "Authorization", "Bearer "+token)...)
	if mine == nil || mine.Code != http.StatusForbidden || code != http.StatusForbidden {
		t.Errorf("who may not impersonate: %+v, the API server says %d", mine, code)
	}
}

// certificate returns the one that config shows to servers.
func certificate(config *tls.Config) (*x509.Certificate, error) {
	var pair *tls.Certificate
	switch {
	case len(config.Certificates) > 0:
		pair = &config.Certificates[0]
	case config.GetClientCertificate != nil:
		var err error
		if pair, err = config.GetClientCertificate(&tls.CertificateRequestInfo{}); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("the kubeconfig has no client certificate")
	}
	return x509.ParseCertificate(pair.Certificate[0])
}
