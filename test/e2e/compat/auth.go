package main

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// clerkToken is a token of the service account shop/clerk, which may get and list the
// pods of its namespace and nothing else.
func clerkToken(ctx context.Context, config *rest.Config) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	answer, err := client.CoreV1().ServiceAccounts("shop").CreateToken(ctx, "clerk", request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask for a token of shop/clerk: %w", err)
	}
	return answer.Status.Token, nil
}

// authRequests are asked without the suite's own credentials, which may do everything.
func authRequests(token string) (all []request) {
	for _, path := range []string{
		shopPods, oneLone, shopPods + "?labelSelector=env%3Dprod", shopPods + "?watch=1&timeoutSeconds=1", "/api/v1/pods", "/api/v1/namespaces/billing/pods",
		"/api/v1/nodes", "/api/v1/nodes/node-0", "/api/v1/namespaces/shop", "/api/v1/namespaces/shop/secrets/password", "/api/v1/namespaces/shop/configmaps",
		shopGadgets, "/apis/apps/v1/deployments", shopPods + "/no-such", "/api/v1/namespaces/shop/secrets/no-such", "/version", "/apis/apps/v1",
	} {
		all = append(all, request{path: path, token: token})
	}
	for _, path := range []string{shopPods, "/api/v1/nodes", "/apis/apps/v1"} {
		all = append(all, request{path: path, token: "nonsense"})
	}
	return all
}

// as returns the side as someone else with that token sees it.
func (s *side) as(token string) (*side, error) {
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = token
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &side{name: s.name, config: config, http: client, kubeconfig: s.kubeconfig, cache: s.cache}, nil
}
