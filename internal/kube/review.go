package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// mostReview bounds the answer to a review: a user with very many groups.
const mostReview = 1 << 20

// ReviewToken asks whose token it is. It takes the right to create
// tokenreviews.authentication.k8s.io, which ClusterRole system:auth-delegator has.
func (c *Client) ReviewToken(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error) {
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	var answer authenticationv1.TokenReview
	err := c.create(ctx, "tokenreviews.authentication.k8s.io", "/apis/authentication.k8s.io/v1/tokenreviews", review, &answer)
	return answer.Status, err
}

// ReviewAccess asks whether someone may do something. It takes the right to create
// subjectaccessreviews.authorization.k8s.io, which ClusterRole
// system:auth-delegator has.
func (c *Client) ReviewAccess(ctx context.Context, question authorizationv1.SubjectAccessReviewSpec) (authorizationv1.SubjectAccessReviewStatus, error) {
	review := authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
		Spec:     question,
	}
	var answer authorizationv1.SubjectAccessReview
	err := c.create(ctx, "subjectaccessreviews.authorization.k8s.io", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, &answer)
	return answer.Status, err
}

// ClientCAs returns the certificates, PEM, of those who vouch for users of this
// cluster; none if it knows no client certificates. It takes the right to get
// ConfigMap extension-apiserver-authentication of namespace kube-system, which
// Role extension-apiserver-authentication-reader there has.
func (c *Client) ClientCAs(ctx context.Context) ([]byte, error) {
	var config corev1.ConfigMap
	err := c.object(ctx, "configmaps", "/api/v1/namespaces/"+metav1.NamespaceSystem+"/configmaps/extension-apiserver-authentication", asJSON, &config)
	if errors.Is(err, object.ErrNotFound) {
		return nil, nil
	}
	return []byte(config.Data["client-ca-file"]), err
}

// create posts what to path and decodes the answer into to. Its errors never hold
// what was sent: that may be a credential.
func (c *Client) create(ctx context.Context, resource, path string, what, to any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("create %s: %w", resource, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("create %s: %w", resource, err)
	}
	req.Header.Set("Content-Type", asJSON)
	req.Header.Set("Accept", asJSON)
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		c.opts.Metrics.answered(resource, "create", 0, time.Since(began))
		return fmt.Errorf("create %s: %w", resource, err)
	}
	defer resp.Body.Close() //nolint:errcheck // what we did not read is of no use
	c.opts.Metrics.answered(resource, "create", resp.StatusCode, time.Since(began))
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("create %s: %w", resource, refused(resp))
	}
	answer, err := readAll(resp.Body, nil, mostReview)
	if err != nil {
		return fmt.Errorf("create %s: %w", resource, err)
	}
	if err := json.Unmarshal(answer, to); err != nil {
		return fmt.Errorf("create %s: parse the answer: %w", resource, err)
	}
	return nil
}

// Upstream returns the base URL of the API server that config names, and a
// transport that trusts it as config says but carries none of its credentials:
// whoever uses it adds a caller's.
func Upstream(config *rest.Config) (*url.URL, http.RoundTripper, error) {
	bare := rest.AnonymousClientConfig(config)
	bare.DisableCompression = true
	bare.Timeout = 0
	base, _, err := rest.DefaultServerUrlFor(bare)
	if err != nil {
		return nil, nil, fmt.Errorf("pass through to %q: %w", bare.Host, err)
	}
	plain, err := rest.TransportFor(bare)
	if err != nil {
		return nil, nil, fmt.Errorf("pass through to %s: %w", bare.Host, err)
	}
	bare = rest.CopyConfig(bare)
	bare.NextProtos = []string{"http/1.1"}
	upgrade, err := rest.TransportFor(bare)
	if err != nil {
		return nil, nil, fmt.Errorf("pass through to %s: %w", bare.Host, err)
	}
	return base, upgradable{plain, upgrade}, nil
}

// upgradable sends what wants to become another protocol over HTTP/1.1, because
// HTTP/2 knows no upgrades, and the rest over what the server prefers.
type upgradable struct{ plain, upgrade http.RoundTripper }

// RoundTrip is http.RoundTripper's.
func (u upgradable) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return u.upgrade.RoundTrip(r)
	}
	return u.plain.RoundTrip(r)
}
