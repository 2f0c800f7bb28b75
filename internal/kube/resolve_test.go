package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// discoverable answers discovery in its old form, which leaves out nothing:
// one group's server is broken, and tests may add resources.
func discoverable(more map[string]string) http.HandlerFunc {
	paths := map[string]string{
		"/api": `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[
			{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}},
			{"name":"broken.io","versions":[{"groupVersion":"broken.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"broken.io/v1","version":"v1"}},
			{"name":"batch","versions":[{"groupVersion":"batch/v1beta1","version":"v1beta1"},{"groupVersion":"batch/v1","version":"v1"}],"preferredVersion":{"groupVersion":"batch/v1","version":"v1"}},
			{"name":"events.k8s.io","versions":[{"groupVersion":"events.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"events.k8s.io/v1","version":"v1"}}]}`,
		"/api/v1": resources("v1",
			`{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","shortNames":["po"],"verbs":["get","list","watch"]}`,
			`{"name":"pods/log","namespaced":true,"kind":"Pod","verbs":["get"]}`,
			`{"name":"nodes","singularName":"","namespaced":false,"kind":"Node","shortNames":["no"],"verbs":["list","watch"]}`,
			`{"name":"events","singularName":"event","namespaced":true,"kind":"Event","shortNames":["ev"],"verbs":["list","watch"]}`,
			`{"name":"reviews","singularName":"review","namespaced":false,"kind":"Review","verbs":["create"]}`,
			`{"name":"bindings","singularName":"binding","namespaced":true,"kind":"Binding","verbs":["create"]}`),
		"/apis/apps/v1": resources("apps/v1",
			`{"name":"deployments","singularName":"deployment","namespaced":true,"kind":"Deployment","shortNames":["deploy"],"verbs":["list","watch"]}`,
			`{"name":"po","singularName":"p","namespaced":true,"kind":"P","verbs":["list","watch"]}`,
			`{"name":"bindings","singularName":"binding","namespaced":true,"kind":"Binding","verbs":["list","watch"]}`),
		"/apis/batch/v1":         resources("batch/v1", `{"name":"cronjobs","singularName":"cronjob","namespaced":true,"kind":"CronJob","shortNames":["cj"],"verbs":["list","watch"]}`),
		"/apis/batch/v1beta1":    resources("batch/v1beta1", `{"name":"cronjobs","singularName":"cronjob","namespaced":true,"kind":"CronJob","shortNames":["cj"],"verbs":["list","watch"]}`),
		"/apis/events.k8s.io/v1": resources("events.k8s.io/v1", `{"name":"events","singularName":"event","namespaced":true,"kind":"Event","shortNames":["ev"],"verbs":["list","watch"]}`),
	}
	for path, text := range more {
		paths[path] = text
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if text, ok := paths[r.URL.Path]; ok {
			say(text)(w, r)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func resources(groupVersion string, all ...string) string {
	return fmt.Sprintf(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":%q,"resources":[%s]}`, groupVersion, strings.Join(all, ","))
}

func TestResolve(t *testing.T) {
	c, _ := serve(t, Options{}, discoverable(nil))
	f := func(name, want string) {
		t.Helper()
		got, err := c.Resolve(t.Context(), name)
		text := fmt.Sprintf("%s %s %s %s %v", got, got.Version, got.Kind, got.Singular, got.Namespaced)
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s: got %s, want %s", name, text, want)
		}
	}
	f("pods", "pods v1 Pod pod true")
	f("pod", "pods v1 Pod pod true")
	f("nodes", "nodes v1 Node node false")
	f("node", "nodes v1 Node node false") // the server names no singular
	f("po", "po.apps v1 P p true")        // full names before short ones
	f("deploy", "deployments.apps v1 Deployment deployment true")
	f("deployments.apps", "deployments.apps v1 Deployment deployment true")
	f("deployments.v1.apps", "deployments.apps v1 Deployment deployment true")
	f("deploy.app", "deployments.apps v1 Deployment deployment true") // the group's beginning
	f("ev", "events v1 Event event true")                             // the first group
	f("events.events.k8s.io", "events.events.k8s.io v1 Event event true")
	f("cj", "cronjobs.batch v1 CronJob cronjob true") // the preferred version
	f("cronjobs.v1beta1.batch", "cronjobs.batch v1beta1 CronJob cronjob true")
	f("bindings", "bindings.apps v1 Binding binding true") // the one that can be watched
	f("reviews", `resource "reviews": reviews cannot be listed and watched: not supported by the API server`)
	f("cronjobs.v2.batch", `resource "cronjobs.v2.batch": no such resource on this API server; did you mean cronjobs.batch? (no answer from the servers of broken.io/v1)`)
	f("podz", `resource "podz": no such resource on this API server; did you mean pods? (no answer from the servers of broken.io/v1)`)
	f("depoyment", `resource "depoyment": no such resource on this API server; did you mean deployments? (no answer from the servers of broken.io/v1)`)
	f("deployment.app.k8s.io", `resource "deployment.app.k8s.io": no such resource on this API server (no answer from the servers of broken.io/v1)`)
	f("deploymets.apps", `resource "deploymets.apps": no such resource on this API server; did you mean deployments.apps? (no answer from the servers of broken.io/v1)`)
	f("Pods", `resource "Pods": want NAME, NAME.GROUP or NAME.VERSION.GROUP in lower case, such as pods or deployments.apps`)
	if _, err := c.Resolve(t.Context(), "podz"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("podz: %v", err)
	}
	if _, err := c.Resolve(t.Context(), "things.broken.io"); err == nil || errors.Is(err, object.ErrNotFound) {
		t.Errorf("a resource of a group that does not answer: %v", err)
	}
}

func TestDiscoveryIsKeptForAShortWhile(t *testing.T) {
	c, s := serve(t, Options{}, discoverable(nil))
	f := func(name string, wantAsked bool) {
		t.Helper()
		before := s.count()
		_, _ = c.Resolve(t.Context(), name)
		if asked := s.count() > before; asked != wantAsked {
			t.Errorf("%s: asked %v", name, asked)
		}
	}
	f("pods", true)
	f("pods", false)
	f("podz", false) // seen to be absent a moment ago
	c.catalog.at = time.Now().Add(-absentAge)
	f("pods", false)
	f("podz", true)
	c.catalog.at = time.Now().Add(-catalogAge)
	f("pods", true)
}

func TestResolveOfABrokenServer(t *testing.T) {
	c, _ := serve(t, Options{}, refuse(401, "Unauthorized", ""))
	if _, err := c.Resolve(t.Context(), "pods"); err == nil || !strings.Contains(err.Error(), "does not accept our credentials") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, "pods"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := map[string]string{"pods": "pods", "pod": "pods", "nodes": "nodes", "services": "services", "svc": "services"}
	f := func(name string, want ...string) {
		t.Helper()
		if got := nearest(name, names); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	f("podz", "pods")
	f("pdos", "pods") // two letters swapped are one slip
	f("nods", "nodes", "pods")
	f("serivces", "services")
	f("deployments")
	f("x")
}

func TestIdentity(t *testing.T) {
	paths := map[string]string{
		"/api/v1/namespaces/kube-system": `{"kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"u-1"}}`,
		"/version":                       `{"gitVersion":"v1.36.3"}`,
		"/openapi/v3":                    `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=ABCD"},"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1"}}}`,
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		if text, ok := paths[r.URL.Path]; ok {
			say(text)(w, r)
			return
		}
		refuse(403, "Forbidden", "")(w, r)
	}
	f := func(r object.Resource, opts Options, want string) {
		t.Helper()
		c, _ := serve(t, opts, answer)
		uid, schema, err := c.Identity(t.Context(), r)
		if got := fmt.Sprint(uid, " ", schema, " ", err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	deployments := object.Resource{Group: "apps", Version: "v1", Name: "deployments", Namespaced: true}
	f(pods, Options{}, "u-1 v1.36.3 openapi=abcd managedFields=cut <nil>")
	f(pods, Options{KeepManagedFields: true}, "u-1 v1.36.3 openapi=abcd managedFields=kept <nil>")
	f(deployments, Options{}, "u-1 v1.36.3 openapi=none managedFields=cut <nil>")
	delete(paths, "/api/v1/namespaces/kube-system")
	delete(paths, "/openapi/v3")
	f(pods, Options{}, " v1.36.3 openapi=none managedFields=cut <nil>")
	delete(paths, "/version")
	c, _ := serve(t, Options{}, answer)
	if _, _, err := c.Identity(t.Context(), pods); err == nil || strings.Contains(err.Error(), "grant verbs list, watch") {
		t.Errorf("error %v", err)
	}
}
