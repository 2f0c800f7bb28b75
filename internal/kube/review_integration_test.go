//go:build integration

package kube

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
)

func TestReviewsOfARealServer(t *testing.T) {
	c := live(t, Options{})
	ns := namespace(t, c)
	text, err := send(c, "POST", "/api/v1/namespaces/"+ns+"/serviceaccounts/default/token", `{"spec":{"expirationSeconds":600}}`)
	if err != nil {
		t.Fatal(err)
	}
	var token struct{ Status struct{ Token string } }
	if err := json.Unmarshal(text, &token); err != nil || token.Status.Token == "" {
		t.Fatalf("no token: %v", err)
	}
	status, err := c.ReviewToken(t.Context(), token.Status.Token)
	if err != nil || !status.Authenticated || status.User.Username != "system:serviceaccount:"+ns+":default" || !slices.Contains(status.User.Groups, "system:authenticated") {
		t.Errorf("review of a token: %+v, %v", status, err)
	}
	if status, err := c.ReviewToken(t.Context(), token.Status.Token+"x"); err != nil || status.Authenticated {
		t.Errorf("review of a wrong token: %+v, %v", status, err)
	}

	may := func(namespace string) bool {
		t.Helper()
		access, err := c.ReviewAccess(t.Context(), authorizationv1.SubjectAccessReviewSpec{
			User: status.User.Username, UID: status.User.UID, Groups: status.User.Groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Version: "v1", Resource: "pods", Namespace: namespace},
		})
		if err != nil {
			t.Fatal(err)
		}
		return access.Allowed
	}
	if may(ns) {
		t.Error("a service account without roles may list pods")
	}
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	write(t, c, "POST", rbac+ns+"/roles", `{"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]}`)
	write(t, c, "POST", rbac+ns+"/rolebindings", fmt.Sprintf(
		`{"metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"default","namespace":%q}]}`, ns))
	for deadline := time.Now().Add(10 * time.Second); !may(ns); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a role does not count")
		}
	}
	if may("") || may("kube-system") {
		t.Error("a role in one namespace counts elsewhere")
	}

	cas, err := c.ClientCAs(t.Context())
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(cas) {
		t.Errorf("no CA of client certificates: %q, %v", cas, err)
	}
}
