package kubeapi

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

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
	if _, err := chooseForm(c.Request.Header, formJSON); err != nil {
		return err
	}
	m, ok := a.set.Find(s.group, s.plural)
	if !ok {
		return a.unknown(s.group, s.plural)
	}
	root, err := synced(m)
	if err != nil {
		return err
	}
	a.describe(c.Writer.Header(), m, root, time.Now())
	a.write(c, `{"items":[`, choose(root, namespace, f), "]}\n")
	return nil
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
	if f.labels, err = parseLabels(selector); err != nil {
		return "", f, BadRequest("parameter label_selector=%q: %v; accepted is any label selector, such as app=web,tier in (front,back),!canary", selector, err)
	}
	for field, value := range map[string]string{fieldName: values.Get("name"), fieldNode: values.Get("node")} {
		if value != "" {
			f.fields = append(f.fields, fieldTest{field: field, value: value})
		}
	}
	return values.Get("namespace"), f, nil
}
