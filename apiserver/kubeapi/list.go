package kubeapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// list answers with all objects of the namespace, of all if it is "".
//
// Each item keeps its kind and apiVersion, which the API server leaves out of the
// items of typed lists: an item is the stored object byte for byte, clients accept
// both, and for generic clients it is the handier form.
func (a *API) list(c *gin.Context, m *mirror.Mirror, namespace string) error {
	c.Set(VerbKey, "list")
	values, err := parseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	f, err := listFilter(values, m.Resource())
	if err != nil {
		return err
	}
	answer, err := chooseForm(c.Request.Header, formJSON, formTable)
	if err != nil {
		return err
	}
	include, err := includeObject(values.Get("includeObject"))
	if err != nil {
		return err
	}
	root, err := synced(m)
	if err != nil {
		return err
	}
	a.describe(c.Writer.Header(), m, root, time.Now())
	if answer == formTable {
		return a.table(c, root, choose(root, namespace, f), include)
	}
	a.write(c, listHead(m.Resource(), root.Freshness.Streamed), choose(root, namespace, f), "]}\n")
	return nil
}

// get answers with one object.
func (a *API) get(c *gin.Context, m *mirror.Mirror, key object.Key) error {
	c.Set(VerbKey, "get")
	values, err := parseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	if err := refuse(values); err != nil {
		return err
	}
	answer, err := chooseForm(c.Request.Header, formJSON, formTable)
	if err != nil {
		return err
	}
	include, err := includeObject(values.Get("includeObject"))
	if err != nil {
		return err
	}
	root, err := synced(m)
	if err != nil {
		return err
	}
	a.describe(c.Writer.Header(), m, root, time.Now())
	o, ok := root.Get(key)
	if !ok {
		return apierrors.NewNotFound(groupResource(m.Resource()), key.Name)
	}
	if answer == formTable {
		return a.table(c, root, []*mirror.Object{o}, include)
	}
	a.write(c, "", []*mirror.Object{o}, "\n")
	return nil
}

func listHead(r object.Resource, version object.Version) string {
	return `{"kind":` + strconv.Quote(r.Kind+"List") + `,"apiVersion":` + strconv.Quote(r.GroupVersion()) +
		`,"metadata":{"resourceVersion":` + strconv.Quote(string(version)) + `},"items":[`
}

// choose returns the objects that the filter selects, in the API server's order.
func choose(root *mirror.Root, namespace string, f filter) []*mirror.Object {
	if name, ok := f.value(fieldName); ok && (namespace != "" || !root.Resource.Namespaced) {
		if o, ok := root.Get(object.Key{Namespace: namespace, Name: name}); ok && f.matches(o) {
			return []*mirror.Object{o}
		}
		return nil
	}
	var chosen []*mirror.Object
	if namespace == "" && f.everything() {
		chosen = make([]*mirror.Object, 0, root.Len())
	}
	for o := range root.All(namespace) {
		if f.matches(o) {
			chosen = append(chosen, o)
		}
	}
	return chosen
}

// pieceBytes is the most that is written at once. Pieces of 256 KB and more are as
// fast as one, and a slow reader holds one piece, not the whole answer.
const pieceBytes = 512 << 10

// write answers 200 with head, the objects' bytes joined by commas, and tail. The
// length is known beforehand; nothing is decoded.
func (a *API) write(c *gin.Context, head string, objects []*mirror.Object, tail string) {
	length := len(head) + max(0, len(objects)-1) + len(tail)
	for _, o := range objects {
		length += len(o.Body)
	}
	a.send(c, length, func(p *pieces) {
		p.add(head)
		for i, o := range objects {
			if i > 0 {
				p.add(",")
			}
			p.add(alias(o.Body))
		}
		p.add(tail)
	})
}

// send answers 200 with the JSON of that length that fill adds, piece by piece.
func (a *API) send(c *gin.Context, length int, fill func(*pieces)) {
	header := c.Writer.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(length))
	c.Writer.WriteHeader(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		c.Writer.WriteHeaderNow()
		return
	}
	pooled := a.buffers.Get().(*[]byte)
	defer a.buffers.Put(pooled)
	p := pieces{w: c.Writer, buffer: (*pooled)[:0], timeout: a.options.WriteTimeout, deadline: http.NewResponseController(c.Writer).SetWriteDeadline}
	fill(&p)
	p.flush()
	if p.err != nil {
		a.log.Debug("client is gone", "path", c.Request.URL.Path, "err", p.err)
	}
}
