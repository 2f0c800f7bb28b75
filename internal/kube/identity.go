package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Identity says which cluster this is and what shapes the bodies of r.
//
// clusterUID is the UID of namespace kube-system, "" if it may not be read, which
// is logged once. schema is a fingerprint of the server's version, of the OpenAPI
// document of r's group and version, and of whether managedFields are kept: while
// it stays, a body at the same version is the same text. The document of a new
// CRD appears some seconds after the CRD itself, so schema may change once then.
func (c *Client) Identity(ctx context.Context, r object.Resource) (clusterUID, schema string, err error) {
	clusterUID, err = c.clusterUID(ctx)
	if err != nil {
		return "", "", fmt.Errorf("identify the cluster: %w", err)
	}
	var server version.Info
	if err := c.object(ctx, "version", "/version", asJSON, &server); err != nil {
		return "", "", fmt.Errorf("identify the cluster: %w", err)
	}
	document, err := c.openAPIHash(ctx, r)
	if err != nil {
		return "", "", fmt.Errorf("identify the schema of %v: %w", r, err)
	}
	fields := "cut"
	if c.opts.KeepManagedFields {
		fields = "kept"
	}
	return clusterUID, fmt.Sprintf("%s openapi=%s managedFields=%s", server.GitVersion, document, fields), nil
}

func (c *Client) clusterUID(ctx context.Context) (string, error) {
	var namespace metav1.PartialObjectMetadata
	err := c.object(ctx, "namespaces", "/api/v1/namespaces/"+metav1.NamespaceSystem, asMetadata, &namespace)
	if errors.Is(err, object.ErrForbidden) || errors.Is(err, object.ErrNotFound) {
		c.warnOnce.Do(func() {
			c.log.Warn("cluster not identified: grant verb get on resource namespaces, name kube-system, so that another cluster behind the same address is noticed", "err", err)
		})
		return "", nil
	}
	return string(namespace.UID), err
}

// openAPIHash returns the hash that the index of OpenAPI documents names for r's
// group and version; "none" if there is no such document, or no index for us.
func (c *Client) openAPIHash(ctx context.Context, r object.Resource) (string, error) {
	const none = "none"
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	err := c.object(ctx, "openapi", "/openapi/v3", asJSON, &index)
	if errors.Is(err, object.ErrForbidden) || errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrUnsupported) {
		return none, nil
	}
	if err != nil {
		return "", err
	}
	path := "apis/" + r.GroupVersion()
	if r.Group == "" {
		path = "api/" + r.GroupVersion()
	}
	document, err := url.Parse(index.Paths[path].ServerRelativeURL)
	if err != nil {
		return none, nil //nolint:nilerr // a server that names it otherwise has no hash
	}
	hash := document.Query().Get("hash")
	if hash == "" {
		return none, nil
	}
	return strings.ToLower(hash[:min(len(hash), 32)]), nil
}
