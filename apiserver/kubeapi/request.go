package kubeapi

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi/field"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// request is what a client asks of a resource: what its path, query and header
// say, checked.
type request struct {
	*gin.Context
	mirror    *mirror.Mirror
	kind      *kind
	namespace string
	name      string // "" of a list or watch
	values    url.Values
	forms     []form // that the client accepts, the one that it likes best first

	options metainternalOptions
	filter  filter
	include metav1.IncludeObjectPolicy // of a Table

	maxStaleness time.Duration // 0: any
	order        field.Order
	projection   field.Projection
}

type metainternalOptions = internalversion.ListOptions

func (q *request) resource() object.Resource { return q.mirror.Resource() }

// parseQuery reads a URL's query. It refuses what it cannot read, where
// url.URL.Query drops it silently.
func parseQuery(raw string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, BadRequest("query %q: %v", raw, err)
	}
	return values, nil
}

// parseList reads the parameters of a list or watch. Parameters that this server
// does not know are ignored, as the API server does.
func (q *request) parseList() (err error) {
	if err := metainternal.ParameterCodec.DecodeParameters(q.values, metav1.SchemeGroupVersion, &q.options); err != nil {
		return BadRequest("%v", err)
	}
	internalversion.SetListOptionsDefaults(&q.options, true)
	if faults := validation.ValidateListOptions(&q.options, true); len(faults) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", faults)
	}
	if q.options.LabelSelector != nil && !q.options.LabelSelector.Empty() {
		q.filter.selectLabels(q.options.LabelSelector)
	}
	q.filter.namespace = q.namespace
	selector := q.values.Get("fieldSelector")
	if q.name != "" && selector == "" { // a watch of one object
		selector = "metadata.name=" + fields.EscapeValue(q.name)
	}
	if q.filter.fields, err = field.Parse(selector, q.resource(), q.kind.selectable()); err != nil {
		return err
	}
	if name, _ := q.filter.name(); q.name != "" && name != q.name {
		return BadRequest("fieldSelector metadata.name doesn't match requested name")
	}
	return q.parseOwn()
}

// parseOwn reads the parameters that Kubernetes does not have.
func (q *request) parseOwn() (err error) {
	if text := q.values.Get("maxStaleness"); text != "" {
		if q.maxStaleness, err = time.ParseDuration(text); err != nil || q.maxStaleness <= 0 {
			return BadRequest("parameter maxStaleness=%q: want a duration above 0, such as 5s", text)
		}
	}
	if text := q.values.Get("krm.io/fieldSelector"); text != "" {
		if q.filter.where, err = field.ParseSelector(text); err != nil {
			return err
		}
	}
	if text := q.values.Get("orderBy"); text != "" {
		if q.options.Watch || q.options.Continue != "" || q.options.Limit > 0 {
			return BadRequest("parameter orderBy=%q: want it without watch, limit and continue: pages and watches have the API's own order", text)
		}
		if q.order, err = field.ParseOrder(text); err != nil {
			return err
		}
	}
	if text := q.values.Get("fields"); text != "" {
		q.projection, err = field.ParseProjection(text)
	}
	return err
}

// parseForms finds what the client accepts.
func (q *request) parseForms(o offer) (err error) {
	if q.forms, err = o.choose(q.Request); err != nil {
		return err
	}
	if q.forms[0].shape == shapeTable {
		q.include, err = includeObject(q.values.Get("includeObject"))
	}
	if err != nil || q.projection.Empty() {
		return err
	}
	for _, f := range q.forms {
		if f.media != mediaProtobuf && f.shape == shapeObject {
			q.forms = []form{f}
			return nil
		}
	}
	return BadRequest("parameter fields=%q: want an answer of whole objects in JSON, not %s as %q", q.projection, q.forms[0].media, q.forms[0].shape)
}

// identity names the list that the request asks for, whichever page of it.
func (q *request) identity() uint64 {
	text := strings.Join([]string{
		q.resource().Path(""), q.namespace, q.values.Get("labelSelector"), q.filter.fields.String(), q.values.Get("krm.io/fieldSelector"),
	}, "\x00")
	return xxhash.Sum64String(text)
}

// includeObject reads the parameter of that name; "" is Metadata, as upstream.
func includeObject(text string) (metav1.IncludeObjectPolicy, error) {
	switch policy := metav1.IncludeObjectPolicy(text); policy {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return policy, nil
	}
	return "", BadRequest("unrecognized includeObject value: %q: want None, Metadata or Object", text)
}

// parseVersion reads a resourceVersion that is neither "" nor "0".
func parseVersion(text string) (object.Version, error) {
	_, err := strconv.ParseUint(text, 10, 64) // for its wording, which is the API server's
	version, ours := object.ParseVersion(text)
	if ours != nil {
		return "", BadRequest("invalid resource version: resourceVersion: Invalid value: %q: %v", text, cmp.Or(err, ours))
	}
	return version, nil
}

// exact says whether the list is of the very state at its resourceVersion. A limit
// asks for that, too, if nothing else is said: pages began so before there was a
// parameter for it.
func (q *request) exact() bool {
	o := q.options
	return o.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		o.ResourceVersionMatch == "" && o.Limit > 0 && o.ResourceVersion != "" && o.ResourceVersion != "0"
}

// limit is how many objects a page holds; 0 is all. A list of any state, whichever
// that is, comes whole, as at the API server.
func (q *request) limit() int {
	if q.options.Limit <= 0 || q.options.ResourceVersion == "0" {
		return 0
	}
	return int(q.options.Limit)
}

// timeout reads the parameter of that name, which bounds what is no watch; 0 is no bound.
func (q *request) timeout() (time.Duration, error) {
	text := q.values.Get("timeout")
	if text == "" || q.options.Watch {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, BadRequest("invalid timeout specified in the request URL - %v", err)
	}
	return d, nil
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// seconds is a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3gs", d.Seconds()) }
