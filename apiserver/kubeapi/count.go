package kubeapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi/field"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// counted is the answer of /krm/v1/count.
type counted struct {
	Resource        string         `json:"resource"`
	ResourceVersion object.Version `json:"resourceVersion"`
	By              string         `json:"by,omitempty"`
	Total           int            `json:"total"`
	Counts          []countOf      `json:"counts,omitempty"` // the largest first
}

// countOf is how many objects have the value, "" if they have none.
type countOf struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// count counts the objects of a resource, by something if that is asked for:
//
//	/krm/v1/count?resource=pods&by=phase
//
// by is label:KEY, node, phase, namespace or a JSONPath. The selectors of a list, and
// namespace, say which objects.
func (a *API) count(c *gin.Context) error {
	c.Set(VerbKey, "count")
	values, err := parseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	m, err := a.named(c, values.Get("resource"))
	if err != nil {
		return err
	}
	c.Set(ResourceKey, m.Resource().String())
	q := &request{Context: c, mirror: m, kind: a.kindOf(m.Resource()), namespace: values.Get("namespace"), values: values, forms: []form{{media: mediaJSON}}}
	if err := a.options.Authorize(c, Access{Verb: "list", Resource: m.Resource(), Namespace: q.namespace}); err != nil {
		return err
	}
	if err := q.parseList(); err != nil {
		return err
	}
	by, err := parseGrouping(values.Get("by"))
	if err != nil {
		return err
	}
	root, doubt, err := q.state(c.Request.Context(), values.Get("resourceVersion"))
	if err != nil {
		return err
	}
	a.describe(c.Writer.Header(), m, root, doubt)
	if a.unchanged(q, root, q.scope(root)) {
		return nil
	}
	answer := counted{Resource: m.Resource().String(), ResourceVersion: root.Freshness.Streamed, By: values.Get("by")}
	err = a.inTurn(func() error { return q.countInto(c.Request.Context(), &answer, root, by) })
	if err == nil {
		c.JSON(http.StatusOK, answer)
	}
	return err
}

// countInto counts the objects of root that the request selects; by may be nil. It ends
// with ctx.
func (q *request) countInto(ctx context.Context, answer *counted, root *mirror.Root, by *field.Grouping) error {
	switch {
	case by == nil && q.filter.everything():
		answer.Total = root.Scope(q.namespace).Objects
		return nil
	case by != nil:
		answer.Counts = []countOf{}
	}
	counts := map[string]int{}
	for o := range root.All(q.namespace) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !q.filter.matches(o) {
			continue
		}
		answer.Total++
		if by != nil {
			counts[by.Key(&field.Object{Namespace: o.Key.Namespace, Name: o.Key.Name, Node: o.Node, Body: o.Body}, o.Labels)]++
		}
	}
	for value, n := range counts {
		answer.Counts = append(answer.Counts, countOf{value, n})
	}
	slices.SortFunc(answer.Counts, func(a, b countOf) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return nil
}

func parseGrouping(text string) (*field.Grouping, error) {
	if text == "" {
		return nil, nil
	}
	by, err := field.ParseGrouping(text)
	return &by, err
}

// named finds the mirror of what people call a resource.
func (a *API) named(c *gin.Context, name string) (*mirror.Mirror, error) {
	if name == "" {
		return nil, BadRequest(`parameter resource="": want what is watched, such as pods or deployments.apps`)
	}
	var found []*mirror.Mirror
	for _, m := range a.set.Mirrors() {
		if m.Resource().String() == name {
			return m, nil
		}
		if m.Resource().Answers(name) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0], nil
	default:
		return nil, BadRequest("parameter resource=%q: could be %v or %v", name, found[0].Resource(), found[1].Resource())
	}
	wanted, err := object.ParseResource(name)
	if err != nil {
		return nil, BadRequest("parameter resource: %v", err)
	}
	return nil, a.unknown(c, wanted.Group, wanted.Name)
}
