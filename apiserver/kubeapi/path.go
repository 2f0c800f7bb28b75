package kubeapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// place is what a path of the Kubernetes API names.
type place struct {
	group, version string
	plural         string
	namespace      string
	inNamespace    bool // the path has a namespace
	name           string
	rest           string // the subresource
	watch          bool   // the path is one of the old ones of watches
}

// parsePath reads /api/VERSION/… and /apis/GROUP/VERSION/…, as the API server does:
//
//	[watch/][namespaces/NAMESPACE/]PLURAL[/NAME[/SUBRESOURCE]]
//
// where "namespaces" is a plural itself if less than a plural follows the name.
func parsePath(path string) (p place, ok bool) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case segments[0] == "api" && len(segments) >= 3:
		p.version, segments = segments[1], segments[2:]
	case segments[0] == "apis" && len(segments) >= 4:
		p.group, p.version, segments = segments[1], segments[2], segments[3:]
	default:
		return p, false
	}
	for _, segment := range segments {
		if segment == "" {
			return p, false
		}
	}
	if segments[0] == "watch" && len(segments) > 1 {
		p.watch, segments = true, segments[1:]
	}
	if segments[0] == "namespaces" && len(segments) >= 3 {
		p.namespace, p.inNamespace, segments = segments[1], true, segments[2:]
	}
	p.plural = segments[0]
	if len(segments) > 1 {
		p.name = segments[1]
	}
	if len(segments) > 2 {
		p.rest = strings.Join(segments[2:], "/")
	}
	return p, true
}

// kubernetes answers every path of the Kubernetes API.
func (a *API) kubernetes(c *gin.Context) error {
	path := c.Request.URL.Path
	p, ok := parsePath(path)
	if !ok {
		return a.discover(c)
	}
	m, held := a.set.Lookup(p.group, p.version, p.plural)
	if !held || p.rest != "" || !isRead(c.Request.Method) {
		return a.elsewhere(c, p, m)
	}
	r := m.Resource()
	c.Set(ResourceKey, r.String())
	if p.inNamespace && !r.Namespaced || r.Namespaced && !p.inNamespace && p.name != "" {
		return NoSuchResource()
	}
	values, err := parseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	return a.read(&request{Context: c, mirror: m, kind: a.kindOf(r), namespace: p.namespace, name: p.name, values: values}, p.watch)
}

// discover answers with what there is.
func (a *API) discover(c *gin.Context) error {
	c.Set(VerbKey, "discovery")
	if !isRead(c.Request.Method) {
		return a.refuse(c)
	}
	if err := a.options.Authorize(c, Access{Verb: "get", Path: c.Request.URL.Path}); err != nil {
		return err
	}
	if a.options.Discovery.Serve(c.Writer, c.Request) || a.options.Forward(c) {
		return nil
	}
	return a.nowhere(c)
}

// nowhere answers as the API server does where no group has anything.
func (a *API) nowhere(c *gin.Context) error {
	parts := strings.Split(c.Request.URL.Path, "/")
	known := parts[1] == "api" || len(parts) > 2 && slices.ContainsFunc(a.set.Mirrors(), func(m *mirror.Mirror) bool {
		return parts[1] == "apis" && m.Resource().Group == parts[2]
	})
	if known {
		return NoSuchResource()
	}
	NoSuchPath(c)
	return nil
}

// elsewhere answers for what is not held here: what is not watched, subresources,
// and all writing.
func (a *API) elsewhere(c *gin.Context, p place, m *mirror.Mirror) error {
	for _, name := range ours() {
		if a.forwards && m == nil && c.Request.URL.Query().Has(name) {
			return BadRequest("parameter %s: the API server, to which this would be passed on, does not know it", name)
		}
	}
	if a.options.Forward(c) {
		c.Set(VerbKey, "forward")
		return nil
	}
	switch {
	case m == nil:
		return a.unknown(c, p.group, p.plural)
	case p.rest != "":
		return NoSuchResource()
	}
	c.Set(ResourceKey, m.Resource().String())
	verb := writeVerb(c.Request.Method, p.name)
	c.Set(VerbKey, verb)
	c.Header("Allow", "GET, HEAD")
	return apierrors.NewMethodNotSupported(groupResource(m.Resource()), verb)
}

func (a *API) refuse(c *gin.Context) error {
	c.Header("Allow", "GET, HEAD")
	return MethodNotAllowed(c.Request.Method)
}

// read answers a request for a resource that is held here.
func (a *API) read(q *request, isWatch bool) (err error) {
	verb, answer := "get", a.get
	forms := reads(q.kind.hasProtobuf())
	if q.name == "" || isWatch { // /watch/… may name one object
		if isWatch {
			q.values.Set("watch", "true")
		}
		err = q.parseList()
		verb, answer = "list", a.list
		if q.options.Watch {
			verb, answer, forms = "watch", a.watch, streams(q.kind.hasProtobuf())
		}
	} else {
		err = q.parseOwn()
	}
	q.Set(VerbKey, verb)
	// Who may not read here is not told what is wrong with the question.
	if err := a.options.Authorize(q.Context, q.access(verb)); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if err := q.parseForms(forms); err != nil {
		return err
	}
	timeout, err := q.timeout()
	if err != nil {
		return err
	}
	err = q.within(timeout, answer)
	var stale *staleError
	if errors.As(err, &stale) && q.plain() && a.options.Forward(q.Context) {
		return nil
	}
	return err
}

// within answers, in the time that the client gives; 0 is no bound.
func (q *request) within(timeout time.Duration, answer func(*request) error) error {
	if timeout <= 0 {
		return answer(q)
	}
	whole := q.Request
	ctx, cancel := context.WithTimeout(whole.Context(), timeout)
	q.Request = whole.WithContext(ctx)
	defer func() {
		cancel()
		q.Request = whole
	}()
	return answer(q)
}

// ours are the parameters that the API server does not know: it would answer something else.
func ours() []string { return []string{"krm.io/fieldSelector", "orderBy", "fields"} }

// plain says that the API server understands all that was asked for.
func (q *request) plain() bool {
	return q.forms[0].media != mediaEvents && !slices.ContainsFunc(ours(), q.values.Has)
}

// access is what the request takes, in the API server's reading: a list by
// metadata.name is of that object alone, and a namespace stands in itself.
func (q *request) access(verb string) Access {
	a := Access{Verb: verb, Resource: q.resource(), Namespace: q.namespace, Name: q.name}
	if name, ok := q.filter.name(); ok && a.Name == "" {
		a.Name = name
	}
	if a.Resource.Group == "" && a.Resource.Name == "namespaces" {
		a.Namespace = q.name // and not what only a selector names
	}
	return a
}

// unknown says that nobody watches the resource, or that nobody can know yet.
func (a *API) unknown(c *gin.Context, group, plural string) error {
	name := object.Resource{Group: group, Name: plural}
	if _, at, _ := a.set.Registered(); at.IsZero() {
		return Unavailable("%v cannot be served yet: Redis has not told which resources are watched", name)
	}
	c.Header("Krm-Hint", name.String()+" is not watched by KRM, or not in this version") // a Warning would be printed by kubectl
	return a.nowhere(c)
}

func groupResource(r object.Resource) schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Name}
}

// writeVerb is the API server's word for a method that writes.
func writeVerb(method, name string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return strings.ToLower(method)
}
