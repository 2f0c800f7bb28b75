package field

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	labelName      = "metadata.name"
	labelNamespace = "metadata.namespace"
	labelNode      = "spec.nodeName"
)

// reader returns a field's value as kube-apiserver compares it.
type reader func(*Object) string

// table is what kube-apiserver knows of a resource's field labels.
type table struct {
	readers map[string]reader // by the label within
	aliases map[string]string // what clients write for it, where that differs
	hidden  []string          // labels within that clients may not write
	refuse  func(label string) error
}

// Labels returns the labels that Parse accepts for r, sorted.
func Labels(r object.Resource, extra []string) []string {
	t := supported(r, extra)
	labels := slices.Collect(maps.Keys(t.readers))
	labels = slices.DeleteFunc(labels, func(label string) bool { return slices.Contains(t.hidden, label) })
	labels = slices.AppendSeq(labels, maps.Keys(t.aliases))
	slices.Sort(labels)
	return labels
}

// convert is called for each requirement, as kube-apiserver calls its
// FieldLabelConversionFunc.
func (t *table) convert(label, value string) (newLabel, newValue string, err error) {
	if within, found := t.aliases[label]; found {
		return within, value, nil
	}
	if _, found := t.readers[label]; !found || slices.Contains(t.hidden, label) {
		return "", "", t.refuse(label)
	}
	return label, value, nil
}

// supported returns the table of r. It follows, for each kind, the
// AddFieldLabelConversionFunc calls in kube-apiserver's pkg/apis (which labels and
// which error) and the GetAttrs functions in its pkg/registry (which values).
func supported(r object.Resource, extra []string) table {
	if !builtIn(r.Group) {
		return custom(r, extra)
	}
	t := table{readers: map[string]reader{labelName: name}, refuse: unsupported}
	switch r.Group + "/" + r.Name {
	case "/pods":
		t.pods()
	case "/nodes":
		t.readers["spec.unschedulable"] = truth("spec.unschedulable")
	case "/namespaces":
		t.readers["status.phase"] = text("status.phase")
	case "/replicationcontrollers":
		t.readers[labelNamespace] = namespace
		t.readers["status.replicas"] = count("status.replicas")
	case "/secrets":
		t.readers[labelNamespace] = namespace
		t.readers["type"] = text("type")
	case "/services":
		t.readers[labelNamespace] = namespace
		t.readers["spec.clusterIP"] = text("spec.clusterIP")
		t.readers["spec.type"] = text("spec.type")
	case "/events":
		t.coreEvents()
	case "events.k8s.io/events":
		t.events()
	case "batch/jobs":
		t.readers[labelNamespace] = namespace
		t.readers["status.successful"] = count("status.succeeded")
		t.refuse = func(label string) error { return fmt.Errorf("field label %q not supported for Job", label) }
	case "certificates.k8s.io/certificatesigningrequests", "certificates.k8s.io/clustertrustbundles":
		t.readers["spec.signerName"] = text("spec.signerName")
	case "certificates.k8s.io/podcertificaterequests":
		t.readers["spec.signerName"] = text("spec.signerName")
		t.readers["spec.podName"] = text("spec.podName")
		t.readers[labelNode] = text("spec.nodeName")
	case "resource.k8s.io/resourceslices":
		t.readers[labelNode] = text("spec.nodeName")
		t.readers["spec.driver"] = text("spec.driver")
		t.refuse = func(label string) error {
			return fmt.Errorf("field label not supported for %s, Kind=ResourceSlice: %s", r.GroupVersion(), label)
		}
	default:
		t.readers[labelNamespace] = namespace // "" of what is cluster-scoped
		t.refuse = func(label string) error {
			return fmt.Errorf("%q is not a known field selector: only %q, %q", label, labelName, labelNamespace)
		}
	}
	return t
}

func (t *table) pods() {
	maps.Copy(t.readers, map[string]reader{
		labelNamespace:             namespace,
		labelNode:                  func(o *Object) string { return o.Node },
		"spec.restartPolicy":       text("spec.restartPolicy"),
		"spec.schedulerName":       text("spec.schedulerName"),
		"spec.serviceAccountName":  text("spec.serviceAccountName"),
		"spec.hostNetwork":         truth("spec.hostNetwork"),
		"status.phase":             text("status.phase"),
		"status.podIP":             either("status.podIP", "status.podIPs.0.ip"),
		"status.nominatedNodeName": text("status.nominatedNodeName"),
		// kube-apiserver accepts this label and gives no pod a value for it.
		"status.podIPs": func(*Object) string { return "" },
	})
	t.aliases = map[string]string{"spec.host": labelNode}
}

func (t *table) coreEvents() {
	maps.Copy(t.readers, map[string]reader{
		labelNamespace:       namespace,
		"reason":             text("reason"),
		"reportingComponent": text("reportingComponent"),
		"source":             either("source.component", "reportingComponent"),
		"type":               text("type"),
	})
	for _, member := range referenceMembers() {
		t.readers["involvedObject."+member] = text("involvedObject." + member)
	}
}

// events of events.k8s.io are the core group's under other names.
func (t *table) events() {
	maps.Copy(t.readers, map[string]reader{
		labelNamespace:       namespace,
		"reason":             text("reason"),
		"reportingComponent": text("reportingController"),
		"type":               text("type"),
	})
	t.aliases = map[string]string{"reportingController": "reportingComponent"}
	t.hidden = []string{"reportingComponent"}
	for _, member := range referenceMembers() {
		t.readers["involvedObject."+member] = text("regarding." + member)
		t.aliases["regarding."+member] = "involvedObject." + member
		t.hidden = append(t.hidden, "involvedObject."+member)
	}
}

func referenceMembers() []string {
	return []string{"kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"}
}

// custom is the table of a CRD's resource.
func custom(r object.Resource, extra []string) table {
	t := table{readers: map[string]reader{labelName: name}, refuse: unsupported}
	for _, path := range extra {
		t.readers[strings.TrimPrefix(path, ".")] = customValue(path)
	}
	t.readers[labelName] = name
	if r.Namespaced {
		t.readers[labelNamespace] = namespace
	}
	return t
}

func unsupported(label string) error { return fmt.Errorf("field label not supported: %s", label) }

func name(o *Object) string { return o.Name }

func namespace(o *Object) string { return o.Namespace }

// text reads a string that is "" where it is absent. path is gjson's.
func text(path string) reader {
	return func(o *Object) string { return gjson.Get(view(o.Body), path).Str }
}

// either reads the first string that is not empty.
func either(first, second string) reader {
	return func(o *Object) string {
		if value := gjson.Get(view(o.Body), first).Str; value != "" {
			return value
		}
		return gjson.Get(view(o.Body), second).Str
	}
}

// truth reads a boolean that is false where it is absent.
func truth(path string) reader {
	return func(o *Object) string { return strconv.FormatBool(gjson.Get(view(o.Body), path).Type == gjson.True) }
}

// count reads an integer that is 0 where it is absent.
func count(path string) reader {
	return func(o *Object) string {
		if value := gjson.Get(view(o.Body), path); value.Type == gjson.Number {
			return value.Raw
		}
		return "0"
	}
}

// customValue reads a field of a custom resource: a string, a boolean or a number, which
// kube-apiserver prints as Go does.
func customValue(path string) reader {
	parsed, err := ParsePath(path)
	if err != nil {
		return func(*Object) string { return "" } // the API server refuses such a CRD
	}
	return func(o *Object) string {
		value, found := parsed.First(o.Body)
		if !found {
			return ""
		}
		switch value.result.Type {
		case gjson.Null:
			return ""
		case gjson.Number:
			if number, err := strconv.ParseInt(value.result.Raw, 10, 64); err == nil {
				return strconv.FormatInt(number, 10)
			}
			return fmt.Sprint(value.result.Num)
		}
		return value.String()
	}
}

// builtIn says whether kube-apiserver itself serves the group. What else there is in
// *.k8s.io comes from CRDs.
func builtIn(group string) bool {
	switch group {
	case "", "apps", "autoscaling", "batch", "extensions", "policy",
		"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
		"authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io",
		"coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
		"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io",
		"node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io",
		"storage.k8s.io", "storagemigration.k8s.io":
		return true
	}
	return false
}
