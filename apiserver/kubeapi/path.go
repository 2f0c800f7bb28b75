package kubeapi

import (
	"net/http"
	"strings"

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
}

// parsePath reads /api/VERSION/… and /apis/GROUP/VERSION/…, as the API server does:
//
//	[namespaces/NAMESPACE/]PLURAL[/NAME[/SUBRESOURCE]]
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

// kubernetes answers every path below /api and /apis.
func (a *API) kubernetes(c *gin.Context) error {
	path := c.Request.URL.Path
	p, ok := parsePath(path)
	if !ok {
		return NoSuchPath("%s", path)
	}
	m, ok := a.set.Lookup(p.group, p.version, p.plural)
	if !ok {
		return a.unknown(p.group, p.plural)
	}
	r := m.Resource()
	c.Set(ResourceKey, r.String())
	wrongScope := p.inNamespace && !r.Namespaced || r.Namespaced && !p.inNamespace && p.name != ""
	if wrongScope || p.rest != "" {
		return NoSuchPath("%s", path)
	}
	if method := c.Request.Method; method != http.MethodGet && method != http.MethodHead {
		verb := writeVerb(method, p.name)
		c.Set(VerbKey, verb)
		c.Header("Allow", "GET, HEAD")
		return apierrors.NewMethodNotSupported(groupResource(r), verb)
	}
	if p.name != "" {
		return a.get(c, m, object.Key{Namespace: p.namespace, Name: p.name})
	}
	return a.list(c, m, p.namespace)
}

// unknown says that nobody watches the resource, or that nobody can know yet.
func (a *API) unknown(group, plural string) error {
	name := object.Resource{Group: group, Name: plural}
	if _, at, _ := a.set.Registered(); at.IsZero() {
		return Unavailable("%v cannot be served yet: Redis has not told which resources are watched", name)
	}
	return NoSuchPath("%v is not watched by KRM, or not in this version", name)
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

// synced returns the state to answer from.
func synced(m *mirror.Mirror) (*mirror.Root, error) {
	root := m.Root()
	if root == nil {
		return nil, notSynced(m)
	}
	return root, nil
}
