package auth

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Reviewer asks the API server on behalf of KRM. internal/kube implements it. An
// error means that there is no answer, whyever.
type Reviewer interface {
	// ReviewToken asks whose token it is.
	ReviewToken(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error)
	// ReviewAccess asks whether someone may do something.
	ReviewAccess(ctx context.Context, question authorizationv1.SubjectAccessReviewSpec) (authorizationv1.SubjectAccessReviewStatus, error)
	// ClientCAs returns the certificates, PEM, of those who may vouch for users;
	// none if the cluster knows no client certificates.
	ClientCAs(ctx context.Context) ([]byte, error)
}

// Guard knows who may read what. Its methods may be called from several
// goroutines at once.
type Guard struct {
	mode    mode
	metrics *metrics
	log     *slog.Logger
}

// mode is one of the values of --auth.
type mode interface {
	authenticate(ctx context.Context, r *http.Request) (User, error)
	authorize(ctx context.Context, user User, a Attributes) (Decision, error)
	// run keeps up to date what the mode knows, until ctx ends.
	run(ctx context.Context) error
}

// Open returns a Guard as config, which is valid, says. reviewer is needed for
// ModeKubernetes only. It reads the token file and fails if that is faulty; it asks
// the API server nothing. registry may be nil. Whoever calls it also calls Run.
func Open(config Config, reviewer Reviewer, registry prometheus.Registerer, log *slog.Logger) (*Guard, error) {
	g := &Guard{metrics: newMetrics(registry), log: log}
	switch config.Mode {
	case ModeKubernetes:
		g.mode = newCluster(config, reviewer, g.metrics, log)
	case ModeToken:
		static, err := openTokens(config.TokenFile, g.metrics, log)
		if err != nil {
			return nil, err
		}
		g.mode = static
	case ModeNone:
		g.mode = everyone{}
	default:
		return nil, fmt.Errorf("open auth: there is no mode %q", config.Mode)
	}
	return g, nil
}

// Run keeps tokens and certificate authorities up to date until ctx ends, and then
// returns nil.
func (g *Guard) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.mode.run(ctx) })
	return group.Wait()
}

// Authenticate says who sent r. Its errors are the API server's: 401 for who is
// unknown, 403 for whom another may not impersonate, and 503 with details on when
// to try again while the API server cannot be asked.
func (g *Guard) Authenticate(ctx context.Context, r *http.Request) (User, error) {
	user, err := g.mode.authenticate(ctx, r)
	if err != nil {
		g.refused(ctx, err, "from", r.RemoteAddr)
	}
	return user, err
}

// Authorize says whether user, whom Authenticate returned, may do what a says: nil
// or 403 Forbidden, or 503 while that is not known. It costs nothing if the answer
// is known, and else up to three questions to the API server.
func (g *Guard) Authorize(ctx context.Context, user User, a Attributes) (Decision, error) {
	decision, err := g.mode.authorize(ctx, user, a)
	if err != nil {
		g.refused(ctx, err, "user", user.Name, "asked", a.String())
	}
	return decision, err
}

// refused counts and logs a refusal.
func (g *Guard) refused(ctx context.Context, err error, facts ...any) {
	if ctx.Err() != nil {
		return
	}
	reason := cmp.Or(strings.ToLower(string(apierrors.ReasonForError(err))), "unknown")
	g.metrics.refused.WithLabelValues(reason).Inc()
	g.log.Debug("request refused", append(facts, "reason", reason, "err", err)...)
}

// bearer returns the request's bearer token, "" if there is none that could be one.
func bearer(r *http.Request) string {
	words := strings.Fields(r.Header.Get("Authorization"))
	if len(words) != 2 || !strings.EqualFold(words[0], "bearer") {
		return ""
	}
	return words[1]
}

// everyone is --auth=none.
type everyone struct{}

func (everyone) authenticate(_ context.Context, r *http.Request) (User, error) {
	return User{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}, Token: bearer(r)}, nil
}

func (everyone) authorize(context.Context, User, Attributes) (Decision, error) {
	return Decision{}, nil
}

func (everyone) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
