package model

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// labelSet are labels, by key, as selectors look at them.
type labelSet []metrics.Label

func (s labelSet) Lookup(key string) (value string, exists bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].Key >= key })
	if i == len(s) || s[i].Key != key {
		return "", false
	}
	return s[i].Value, true
}

func (s labelSet) Has(key string) bool {
	_, exists := s.Lookup(key)
	return exists
}

func (s labelSet) Get(key string) string {
	value, _ := s.Lookup(key)
	return value
}

// form is a representation of an answer.
type form struct {
	media  string
	table  bool
	pretty bool
}

const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

// chooseForm returns the first form that the client takes and that there is.
func chooseForm(r *http.Request) (form, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.Trim(accept, ", ") == "" {
		accept = "*/*"
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		p := clause.Params
		table := p["as"] == "Table" && p["g"] == metav1.GroupName && p["v"] == "v1"
		if clause.Q <= 0 || p["as"] != "" && !table {
			continue
		}
		for _, m := range []string{mediaJSON, mediaYAML, mediaProtobuf} {
			kind, sub, _ := strings.Cut(m, "/")
			if (clause.Type == "*" || clause.Type == kind) && (clause.SubType == "*" || clause.SubType == sub) && (!table || m != mediaProtobuf) {
				return form{m, table, headers.WantsPretty(r, p)}, nil
			}
		}
	}
	return form{}, &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: " + strings.Join([]string{mediaJSON, mediaYAML, mediaProtobuf}, ", "),
	}}
}

// moment is what all that is told of one batch has in common.
type moment struct {
	at, now time.Time
	window  time.Duration
}

func momentOf(v *metrics.View) moment {
	return moment{at: v.Time().UTC(), now: time.Now().UTC(), window: v.Resolution()}
}

// oneUsage answers with one node or pod.
func (a *API) oneUsage(q request, v *metrics.View, u usageQuery) error {
	var r usages
	var ok bool
	if u.resource.Namespaced {
		r, ok = podUsage(v, u.namespace, u.name)
	} else {
		r, ok = nodeUsage(v, u.name)
	}
	if !ok {
		return apierrors.NewNotFound(u.groupResource(), u.name)
	}
	m := momentOf(v)
	switch {
	case u.form.table:
		return a.sendForm(q, u.form, tableOf(m, "", []usages{r}))
	case u.form.media == mediaProtobuf:
		return a.sendProtobuf(q, u, protoOf(m, r))
	}
	return a.sendForm(q, u.form, append(appendUsages(nil, m, &r, u.resource.GroupVersion()), '\n'))
}

// sendUsages answers with a list.
func (a *API) sendUsages(q request, v *metrics.View, u usageQuery) error {
	var rows []usages
	next := ""
	for r := range u.all(v) {
		if u.limit > 0 && len(rows) == u.limit {
			next = base64.RawURLEncoding.EncodeToString([]byte(rows[len(rows)-1].id()))
			break
		}
		rows = append(rows, r)
	}
	m := momentOf(v)
	switch {
	case u.form.table:
		return a.sendForm(q, u.form, tableOf(m, next, rows))
	case u.form.media == mediaProtobuf:
		return a.sendProtobuf(q, u, protoListOf(m, u.resource.Namespaced, next, rows))
	}
	b := append(make([]byte, 0, 1024+400*len(rows)), `{"kind":"`...)
	b = append(append(b, u.resource.Kind...), `List","apiVersion":"`...)
	b = append(append(b, u.resource.GroupVersion()...), `","metadata":{`...)
	if next != "" {
		b = appendString(append(b, `"continue":`...), next)
	}
	b = append(b, `},"items":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendUsages(b, m, &rows[i], "")
	}
	return a.sendForm(q, u.form, append(b, "]}\n"...))
}

// appendUsages adds a NodeMetrics or PodMetrics as JSON; of an item of a list the version
// is "".
func appendUsages(b []byte, m moment, r *usages, version string) []byte {
	b = append(b, '{')
	if version != "" {
		kind := "NodeMetrics"
		if r.namespace != "" {
			kind = "PodMetrics"
		}
		b = append(append(append(append(append(b, `"kind":"`...), kind...), `","apiVersion":"`...), version...), `",`...)
	}
	b = appendString(append(b, `"metadata":{"name":`...), r.name)
	if r.namespace != "" {
		b = appendString(append(b, `,"namespace":`...), r.namespace)
	}
	b = append(m.now.AppendFormat(append(b, `,"creationTimestamp":"`...), time.RFC3339), '"')
	for i, l := range r.labels {
		if i == 0 {
			b = append(b, `,"labels":{`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(append(appendString(b, l.Key), ':'), l.Value)
	}
	if len(r.labels) > 0 {
		b = append(b, '}')
	}
	b = m.at.AppendFormat(append(b, `},"timestamp":"`...), time.RFC3339)
	b = append(append(append(b, `","window":"`...), m.window.String()...), '"')
	if r.namespace == "" {
		return append(appendUsage(append(b, `,"usage":`...), r.usage), '}')
	}
	b = append(b, `,"containers":[`...)
	for i, c := range r.containers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"name":`...), c.name)
		b = append(appendUsage(append(b, `,"usage":`...), c), '}')
	}
	return append(b, "]}"...)
}

// appendUsage adds quantities: CPU in thousandths, memory in bytes.
func appendUsage(b []byte, u usage) []byte {
	b = strconv.AppendInt(append(b, `{"cpu":"`...), u.cpu, 10)
	b = strconv.AppendInt(append(b, `m","memory":"`...), u.memory, 10)
	return append(b, `"}`...)
}

// sendForm answers with JSON, in the form that was asked for.
func (a *API) sendForm(q request, f form, body []byte) error {
	switch {
	case f.media == mediaYAML:
		converted, err := yaml.JSONToYAML(body)
		if err != nil {
			return err
		}
		body = converted
	case f.pretty:
		var b bytes.Buffer
		if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
			return err
		}
		body = b.Bytes()
	}
	a.sendBody(q, f.media, body)
	return nil
}

func (a *API) sendBody(q request, media string, body []byte) {
	h := q.Writer.Header()
	if q.Request.Method == http.MethodHead {
		h.Set("Content-Type", media)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		q.Status(http.StatusOK)
		q.Writer.WriteHeaderNow()
		return
	}
	w := a.begin(q, media, max(1, len(body)))
	if h.Get("Content-Encoding") == "" {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.write(body)
	w.end()
}

// sendProtobuf answers with o, which has the same fields in all versions.
func (a *API) sendProtobuf(q request, u usageQuery, o runtime.Object) error {
	kind := u.resource.Kind
	if u.name == "" {
		kind += "List"
	}
	o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: Group, Version: u.resource.Version, Kind: kind})
	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(o, &b); err != nil {
		return err
	}
	a.sendBody(q, mediaProtobuf, b.Bytes())
	return nil
}

func resourceList(u usage) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(u.cpu, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(u.memory, resource.BinarySI),
	}
}

func metaOf(m moment, r usages) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: r.name, Namespace: r.namespace, CreationTimestamp: metav1.NewTime(m.now.Truncate(time.Second))}
	for _, l := range r.labels {
		metav1.SetMetaDataLabel(&meta, l.Key, l.Value)
	}
	return meta
}

func protoOf(m moment, r usages) runtime.Object {
	if r.namespace == "" {
		return &v1beta1.NodeMetrics{ObjectMeta: metaOf(m, r), Timestamp: metav1.NewTime(m.at), Window: metav1.Duration{Duration: m.window}, Usage: resourceList(r.usage)}
	}
	pod := &v1beta1.PodMetrics{ObjectMeta: metaOf(m, r), Timestamp: metav1.NewTime(m.at), Window: metav1.Duration{Duration: m.window}}
	for _, c := range r.containers {
		pod.Containers = append(pod.Containers, v1beta1.ContainerMetrics{Name: c.name, Usage: resourceList(c)})
	}
	return pod
}

func protoListOf(m moment, ofPods bool, next string, rows []usages) runtime.Object {
	meta := metav1.ListMeta{Continue: next}
	if !ofPods {
		list := &v1beta1.NodeMetricsList{ListMeta: meta, Items: make([]v1beta1.NodeMetrics, 0, len(rows))}
		for _, r := range rows {
			list.Items = append(list.Items, *protoOf(m, r).(*v1beta1.NodeMetrics))
		}
		return list
	}
	list := &v1beta1.PodMetricsList{ListMeta: meta, Items: make([]v1beta1.PodMetrics, 0, len(rows))}
	for _, r := range rows {
		list.Items = append(list.Items, *protoOf(m, r).(*v1beta1.PodMetrics))
	}
	return list
}

// tableOf makes a Table as kubectl get shows it.
func tableOf(m moment, next string, rows []usages) []byte {
	table := metav1.Table{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"}, ListMeta: metav1.ListMeta{Continue: next},
		ColumnDefinitions: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: "Name of the object"},
			{Name: "cpu", Type: "string", Description: "CPU in use, in thousandths of a core"},
			{Name: "memory", Type: "string", Description: "Working set"},
			{Name: "Window", Type: "string", Description: "Time over which CPU was measured"},
		},
		Rows: make([]metav1.TableRow, 0, len(rows)),
	}
	for _, r := range rows {
		list := resourceList(r.usage)
		meta := metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}, ObjectMeta: metaOf(m, r),
		}
		table.Rows = append(table.Rows, metav1.TableRow{
			Cells:  []any{r.name, list.Cpu().String(), strconv.FormatInt(r.usage.memory>>10, 10) + "Ki", m.window.String()},
			Object: runtime.RawExtension{Object: &meta},
		})
	}
	return compactValue(table)
}
