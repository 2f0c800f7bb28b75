package kubeapi

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi/field"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// shortPath is one path of the original KRM, for its clients.
type shortPath struct {
	path       string
	group      string
	plural     string
	namespaced bool
}

// shortPaths are the original's own six, and the proper plurals beside them.
var shortPaths = []shortPath{
	{"pods", "", "pods", true},
	{"nodes", "", "nodes", false},
	{"services", "", "services", true},
	{"ingress", "networking.k8s.io", "ingresses", true},
	{"ingresses", "networking.k8s.io", "ingresses", true},
	{"pvcs", "", "persistentvolumeclaims", true},
	{"persistentvolumeclaims", "", "persistentvolumeclaims", true},
	{"deployments", "apps", "deployments", true},
	{"namespaces", "", "namespaces", false},
}

// short answers {"items":[…]} with the objects that all given filters select.
func (a *API) short(c *gin.Context, s shortPath) error {
	c.Set(VerbKey, "list")
	c.Set(ResourceKey, object.Resource{Group: s.group, Name: s.plural}.String())
	values, err := parseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	namespace, f, err := shortFilter(values, s)
	if err != nil {
		return err
	}
	forms, err := offer{mediaJSON: {shapeObject}}.choose(c.Request)
	if err != nil {
		return err
	}
	m, ok := a.set.Find(s.group, s.plural)
	if !ok {
		return a.unknown(c, s.group, s.plural)
	}
	q := &request{Context: c, mirror: m, kind: a.kindOf(m.Resource()), namespace: namespace, values: values, forms: forms, filter: f}
	q.filter.namespace = namespace
	if err := a.options.Authorize(c, Access{Verb: "list", Resource: m.Resource(), Namespace: namespace}); err != nil {
		return err
	}
	root, doubt, err := q.state(c.Request.Context(), "")
	if err != nil {
		return err
	}
	a.describe(c.Writer.Header(), m, root, doubt)
	if a.unchanged(q, root, q.scope(root)) {
		return nil
	}
	var answer *reply
	err = a.inTurn(func() error {
		objects, _, err := q.choose(c.Request.Context(), root, "")
		if err != nil {
			return err
		}
		var t text
		t.add(`{"items":[`)
		for i, o := range objects {
			if i > 0 {
				t.add(",")
			}
			t.addBytes(o.Body)
		}
		t.add("]}\n")
		answer, err = a.reply(q, forms[0], t)
		return err
	})
	if err == nil {
		a.send(q, *answer)
	}
	return err
}

// shortFilter reads name, namespace, node and label_selector; an empty one does
// not filter, as if it were not given.
func shortFilter(values url.Values, s shortPath) (namespace string, f filter, err error) {
	accepted := []string{"name", "namespace", "node", "label_selector"}
	accepted = slices.DeleteFunc(accepted, func(name string) bool {
		return name == "namespace" && !s.namespaced || name == "node" && s.path != "pods"
	})
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		given := values[name]
		if !slices.Contains(accepted, name) {
			return "", f, BadRequest("parameter %s=%q: /%s knows no such filter; it accepts %s", name, given[0], s.path, strings.Join(accepted, ", "))
		}
		if len(given) > 1 {
			return "", f, BadRequest("parameter %s=%q is given %d times: it is accepted once", name, strings.Join(given, `", "`), len(given))
		}
	}
	selector := values.Get("label_selector")
	wanted, err := parseLabels(selector)
	if err != nil {
		return "", f, BadRequest("parameter label_selector=%q: %v; accepted is any label selector, such as app=web,tier in (front,back),!canary", selector, err)
	}
	f.selectLabels(wanted)
	var terms []string
	for label, value := range map[string]string{"metadata.name": values.Get("name"), "spec.nodeName": values.Get("node")} {
		if value != "" {
			terms = append(terms, label+"="+fields.EscapeValue(value))
		}
	}
	slices.Sort(terms)
	resource := object.Resource{Group: s.group, Version: "v1", Name: s.plural, Namespaced: s.namespaced}
	f.fields, err = field.Parse(strings.Join(terms, ","), resource, nil)
	return values.Get("namespace"), f, err
}
