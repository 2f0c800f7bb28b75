package kubeapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/munnerz/goautoneg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
)

// media is how an answer is written down.
type media string

const (
	mediaJSON     media = "application/json"
	mediaYAML     media = "application/yaml"
	mediaProtobuf media = "application/vnd.kubernetes.protobuf"
	mediaEvents   media = "text/event-stream" // of watches, for browsers
)

// shape is what an answer consists of.
type shape string

const (
	shapeObject   shape = "" // whole objects
	shapeTable    shape = "Table"
	shapeMetadata shape = "PartialObjectMetadata"
	// shapeMetadataList is what clients ask for; the answer's shape is the one before.
	shapeMetadataList shape = "PartialObjectMetadataList"
)

// form is a representation of an answer.
type form struct {
	media  media
	shape  shape
	pretty bool // for people's eyes
	ofList bool // the shape that was asked for is a list's
}

// contentType is the answer's header of that name.
func (f form) contentType(watch bool) string {
	if watch && f.media == mediaProtobuf {
		return string(f.media) + ";stream=watch"
	}
	return string(f.media)
}

// offer is what an endpoint can answer with: of each media the shapes.
type offer map[media][]shape

// reads is what kube-apiserver offers for a resource. Only kinds that are built in
// have protobuf for whole objects; Tables have none.
func reads(protobuf bool) offer {
	all := []shape{shapeObject, shapeTable, shapeMetadata}
	o := offer{mediaJSON: all, mediaYAML: all, mediaProtobuf: {shapeMetadata}}
	if protobuf {
		o[mediaProtobuf] = []shape{shapeObject, shapeMetadata}
	}
	return o
}

// streams is reads, as watches have it.
func streams(protobuf bool) offer {
	o := reads(protobuf)
	delete(o, mediaYAML)
	o[mediaEvents] = []shape{shapeObject}
	return o
}

// choose returns the forms that the request accepts and the offer has, the one that it
// likes best first.
func (o offer) choose(r *http.Request) ([]form, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.Trim(accept, ", ") == "" {
		accept = "*/*"
	}
	var forms []form
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Q <= 0 {
			continue
		}
		for _, m := range []media{mediaJSON, mediaYAML, mediaProtobuf, mediaEvents} { // the order for */*
			if f, ok := o.take(m, clause); ok && !slices.Contains(forms, f) {
				f.pretty = headers.WantsPretty(r, clause.Params)
				forms = append(forms, f)
			}
		}
	}
	if len(forms) == 0 {
		return nil, notAcceptable("only the following media types are accepted: %s", strings.Join(o.names(), ", "))
	}
	return forms, nil
}

// names are what the API server says that it accepts.
func (o offer) names() []string {
	if _, stream := o[mediaEvents]; stream && slices.Contains(o[mediaProtobuf], shapeObject) {
		return []string{string(mediaJSON) + ";stream=watch", string(mediaProtobuf) + ";stream=watch"}
	}
	if len(o) == 1 {
		return []string{string(mediaJSON)}
	}
	return []string{string(mediaJSON), string(mediaYAML), string(mediaProtobuf)}
}

func notAcceptable(format string, args ...any) error {
	return failure(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, format, args...)
}

// checkShape refuses metadata of one object where there is a list, and the other way
// round. A watch has both.
func (q *request) checkShape() error {
	f, isList := q.forms[0], q.name == ""
	if f.shape != shapeMetadata || f.ofList == isList || q.options.Watch {
		return nil
	}
	group, _, _ := strings.Cut(cmp.Or(q.resource().Group, "core"), ".")
	if isList {
		return notAcceptable("you requested PartialObjectMetadata, but the requested object is a list (*%s.%sList)", group, q.resource().Kind)
	}
	return notAcceptable("you requested PartialObjectMetadataList, but the requested object is not a list (*%s.%s)", group, q.resource().Kind)
}

// take says whether m, which the offer may have, is what clause asks for.
func (o offer) take(m media, clause goautoneg.Accept) (f form, ok bool) {
	kind, sub, _ := strings.Cut(string(m), "/")
	exact := clause.Type == kind && clause.SubType == sub
	if !exact && (m == mediaEvents || clause.SubType != "*" || clause.Type != "*" && clause.Type != kind) {
		return f, false
	}
	f = form{media: m}
	p := clause.Params
	if p["as"] != "" || p["g"] != "" || p["v"] != "" {
		if p["g"] != metav1.GroupName || p["v"] != "v1" {
			return f, false
		}
		if f.shape = shape(p["as"]); f.shape == shapeMetadataList {
			f.shape, f.ofList = shapeMetadata, true
		}
	}
	if stream := p["stream"]; stream != "" && stream != "watch" {
		return f, false
	}
	return f, slices.Contains(o[m], f.shape)
}
