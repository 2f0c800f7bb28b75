package auth

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// BenchmarkKnown is what a request costs whose user and right are known.
func BenchmarkKnown(b *testing.B) {
	f := newFake()
	token := strings.Repeat("t", 1000) // a service account's is about as long
	f.tokens[token] = authenticationv1.UserInfo{Username: "u", Groups: []string{"a", "b"}}
	f.rights["u get pods a/"] = true
	g, err := Open(Config{Mode: ModeKubernetes, AllowTTL: 1e15, OutageBound: 1e15}, f, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := byToken(token)
	a := Attributes{Verb: "get", Version: "v1", Resource: "pods", Namespace: "a", Name: "n"}
	b.ReportAllocs()
	for b.Loop() {
		user, err := g.Authenticate(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := g.Authorize(b.Context(), user, a); err != nil {
			b.Fatal(err)
		}
	}
}
