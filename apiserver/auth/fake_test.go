package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// fake is an API server's view of who may do what.
type fake struct {
	mu     sync.Mutex
	tokens map[string]authenticationv1.UserInfo
	rights map[string]bool // "user verb resource namespace/name"
	cas    []byte
	away   error         // what reviews fail with, if not nil
	slow   time.Duration // how long they take
	asked  []string
	under  int // reviews under way, and the most there were
	most   int
}

func newFake() *fake {
	return &fake{tokens: map[string]authenticationv1.UserInfo{}, rights: map[string]bool{}}
}

func (f *fake) enter(ctx context.Context, what string) error {
	f.mu.Lock()
	f.asked = append(f.asked, what)
	f.under++
	f.most = max(f.most, f.under)
	slow := f.slow
	f.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under--
	return errors.Join(ctx.Err(), f.away)
}

func (f *fake) ReviewToken(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error) {
	if err := f.enter(ctx, "token "+token); err != nil {
		return authenticationv1.TokenReviewStatus{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	user, ok := f.tokens[token]
	return authenticationv1.TokenReviewStatus{Authenticated: ok, User: user}, nil
}

func (f *fake) ReviewAccess(ctx context.Context, q authorizationv1.SubjectAccessReviewSpec) (authorizationv1.SubjectAccessReviewStatus, error) {
	what := ""
	if a := q.NonResourceAttributes; a != nil {
		what = fmt.Sprintf("%s %s %s", q.User, a.Verb, a.Path)
	} else {
		a := q.ResourceAttributes
		what = fmt.Sprintf("%s %s %s %s/%s", q.User, a.Verb, a.Resource, a.Namespace, a.Name)
	}
	if err := f.enter(ctx, what); err != nil {
		return authorizationv1.SubjectAccessReviewStatus{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return authorizationv1.SubjectAccessReviewStatus{Allowed: f.rights[what]}, nil
}

func (f *fake) ClientCAs(context.Context) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cas, f.away
}

// took returns what was asked since the last call.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

var errDown = errors.New("connection refused")

// guarded returns a Guard that asks f.
func guarded(t *testing.T, f *fake) *Guard {
	t.Helper()
	g, err := Open(Config{Mode: ModeKubernetes, AllowTTL: 10 * time.Second, OutageBound: 5 * time.Minute},
		f, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// with is a request with headers: name, value, …
func with(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/pods", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func byToken(token string) *http.Request { return with("Authorization", "Bearer "+token) }

// code is an error's HTTP status, 200 for nil.
func code(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return int(status.Status().Code)
	}
	return 0
}

// get asks, as the owner of token, to do what "verb resource namespace/name" says,
// and returns the status and the warning.
func get(t *testing.T, g *Guard, token, what string) (int, string) {
	t.Helper()
	user, err := g.Authenticate(t.Context(), byToken(token))
	if err != nil {
		return code(err), ""
	}
	words := strings.Fields(what)
	namespace, name, _ := strings.Cut(words[2], "/")
	decision, err := g.Authorize(t.Context(), user, Attributes{Verb: words[0], Version: "v1", Resource: words[1], Namespace: namespace, Name: name})
	return code(err), decision.Warning
}
