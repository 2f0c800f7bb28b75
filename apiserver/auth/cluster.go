package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
)

const (
	// knownTokens and knownRights bound what is remembered, some 1 KB and 0.5 KB each.
	knownTokens = 4096
	knownRights = 16384
	// longestToken is longer than any token of Kubernetes is.
	longestToken = 16 << 10

	groupAuthenticated = "system:authenticated"
)

// tokenKey is the SHA-256 of a token: nothing keeps the token itself but the User
// that it stands for.
type tokenKey [sha256.Size]byte

// rightKey is who may do what.
type rightKey struct {
	user [sha256.Size]byte
	Attributes
}

// cluster is --auth=kubernetes.
type cluster struct {
	reviewer     Reviewer
	tokens       *reviews[tokenKey, User]
	rights       *reviews[rightKey, struct{}]
	certificates *certificates
	bound        time.Duration
	log          *slog.Logger
}

func newCluster(config Config, reviewer Reviewer, m *metrics, log *slog.Logger) *cluster {
	return &cluster{
		reviewer:     reviewer,
		tokens:       newReviews[tokenKey, User]("token", config, knownTokens, m, log),
		rights:       newReviews[rightKey, struct{}]("access", config, knownRights, m, log),
		certificates: newCertificates(reviewer, m, log),
		bound:        config.OutageBound,
		log:          log,
	}
}

func (c *cluster) run(ctx context.Context) error { return c.certificates.run(ctx) }

// authenticate takes a certificate before a token, as the API server does.
func (c *cluster) authenticate(ctx context.Context, r *http.Request) (User, error) {
	user, err := c.caller(ctx, r)
	if err != nil {
		return User{}, err
	}
	return c.impersonate(ctx, user, r.Header)
}

func (c *cluster) caller(ctx context.Context, r *http.Request) (User, error) {
	token := bearer(r)
	var shown []*x509.Certificate
	if r.TLS != nil {
		shown = r.TLS.PeerCertificates
	}
	if len(shown) > 0 {
		user, err := c.certificates.user(shown)
		if err == nil {
			return user, nil
		}
		if errors.Is(err, errAway) && token == "" {
			return User{}, undecided("whose certificate this is")
		}
		c.log.Debug("client certificate not accepted", "from", r.RemoteAddr, "err", err)
	}
	if token == "" || len(token) > longestToken {
		return User{}, unauthenticated()
	}
	return c.owner(ctx, token)
}

// owner says whose token it is.
func (c *cluster) owner(ctx context.Context, token string) (User, error) {
	key := tokenKey(sha256.Sum256([]byte(token)))
	if user, ok := c.tokens.fresh(key); ok {
		return user, nil
	}
	_, _, holds := c.tokens.holds(key)
	answer, err := c.tokens.ask(ctx, key, string(key[:]), haste(holds), func(ctx context.Context) (verdict[User], error) {
		return c.reviewToken(ctx, token)
	})
	switch {
	case errors.Is(err, errAway):
		user, age, ok := c.tokens.holds(key)
		if !ok {
			return User{}, undecided("whose token this is")
		}
		c.tokens.hold()
		user.held = max(age, 1)
		return user, nil
	case err != nil:
		return User{}, err
	case !answer.allowed:
		return User{}, unauthenticated()
	}
	return answer.value, nil
}

func (c *cluster) reviewToken(ctx context.Context, token string) (verdict[User], error) {
	status, err := c.reviewer.ReviewToken(ctx, token)
	if err != nil || !status.Authenticated {
		return verdict[User]{}, err
	}
	user := User{Name: status.User.Username, UID: status.User.UID, Groups: status.User.Groups, Token: token}
	if len(status.User.Extra) > 0 {
		user.Extra = make(map[string][]string, len(status.User.Extra))
		for key, values := range status.User.Extra {
			user.Extra[key] = values
		}
	}
	return verdict[User]{allowed: true, value: authenticated(user), until: expiry(token)}, nil
}

// authenticated completes a user whom the API server knows.
func authenticated(user User) User {
	if !slices.Contains(user.Groups, groupAuthenticated) {
		user.Groups = append(slices.Clip(user.Groups), groupAuthenticated)
	}
	user.id = user.identity()
	return user
}

// expiry is when a JSON Web Token says that it ends, zero for other tokens. The
// API server has checked its signature before this is called.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(text, &claims) != nil || claims.Expires <= 0 || claims.Expires > 1e11 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}

// authorize asks for the whole cluster first, then for the namespace, then for the
// name: a yes to one covers what is below, and few questions answer many requests.
func (c *cluster) authorize(ctx context.Context, user User, a Attributes) (decision Decision, err error) {
	user.id = user.identity()
	if user.held > 0 {
		decision.Warning = heldWarning(user.held, c.bound)
	}
	levels := a.levels()
	hasty := haste(false)
	for _, level := range levels {
		key := rightKey{user.id, level}
		if _, ok := c.rights.fresh(key); ok {
			return decision, nil
		}
		if _, _, ok := c.rights.holds(key); ok {
			hasty = true
		}
	}
	why := ""
	for _, level := range levels {
		answer, err := c.review(ctx, user, level, hasty)
		switch {
		case errors.Is(err, errAway):
			return c.hold(user, levels)
		case err != nil:
			return Decision{}, err
		case answer.allowed:
			return decision, nil
		}
		why = answer.why
	}
	return Decision{}, forbidden(user, a, why)
}

// hold lets those in whom the API server let in when it could be asked.
func (c *cluster) hold(user User, levels []Attributes) (Decision, error) {
	for _, level := range levels {
		if _, age, ok := c.rights.holds(rightKey{user.id, level}); ok {
			c.rights.hold()
			return Decision{Warning: heldWarning(max(age, user.held), c.bound)}, nil
		}
	}
	return Decision{}, undecided("who may read this")
}

func (c *cluster) review(ctx context.Context, user User, a Attributes, hasty haste) (verdict[struct{}], error) {
	key := rightKey{user.id, a}
	name := string(user.id[:]) + strings.Join([]string{a.Verb, a.Group, a.Version, a.Resource, a.Subresource, a.Namespace, a.Name, a.Path}, "\x00")
	return c.rights.ask(ctx, key, name, hasty, func(ctx context.Context) (verdict[struct{}], error) {
		status, err := c.reviewer.ReviewAccess(ctx, question(user, a))
		return verdict[struct{}]{allowed: status.Allowed && !status.Denied, why: status.Reason}, err
	})
}

func question(user User, a Attributes) authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: user.Name, UID: user.UID, Groups: user.Groups}
	if len(user.Extra) > 0 {
		spec.Extra = make(map[string]authorizationv1.ExtraValue, len(user.Extra))
		for key, values := range user.Extra {
			spec.Extra[key] = values
		}
	}
	if a.Resource == "" {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: a.Verb, Path: a.Path}
		return spec
	}
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Verb: a.Verb, Group: a.Group, Version: a.Version, Resource: a.Resource,
		Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name,
	}
	return spec
}
