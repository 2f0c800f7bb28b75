package kubeapi

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// form is a representation of an answer.
type form string

const (
	formJSON  form = "application/json"
	formTable form = "application/json;as=Table;v=v1;g=meta.k8s.io"
)

// chooseForm returns the first form that the header names and that is one of those
// served: a client that would rather have protobuf gets what it named next. Without
// a header it is the first served.
func chooseForm(header http.Header, served ...form) (form, error) {
	accept := strings.Join(header.Values("Accept"), ",")
	if strings.Trim(accept, ", ") == "" {
		return served[0], nil
	}
	for clause := range strings.SplitSeq(accept, ",") {
		if f, ok := offer(clause); ok && slices.Contains(served, f) {
			return f, nil
		}
	}
	var names []string
	for _, f := range served {
		names = append(names, string(f))
	}
	return "", failure(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: %s (Accept: %q)", strings.Join(names, ", "), accept)
}

// offer returns the form that one clause of an Accept header asks for, if KRM has it.
func offer(clause string) (f form, ok bool) {
	media, params, err := mime.ParseMediaType(clause)
	if err != nil {
		return "", false
	}
	if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q <= 0 {
		return "", false
	}
	switch media {
	case "application/json", "application/*", "*/*":
	default:
		return "", false
	}
	switch {
	case params["as"] == "":
		return formJSON, true
	case params["as"] == "Table" && params["g"] == "meta.k8s.io" && params["v"] == "v1":
		return formTable, true
	}
	return "", false
}
