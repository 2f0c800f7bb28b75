package passthrough

import (
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
)

// permit says why r may not pass, nil if it may.
func (p *Proxy) permit(r *http.Request, user auth.User) *metav1.Status {
	switch {
	case p.mode != ModeReads && p.mode != ModeAll:
		return forbidden("KRM does not hold this, and sends nothing to the API server: ask the API server itself, or start KRM with --passthrough=reads or --passthrough=all")
	case user.Static:
		return forbidden("KRM does not hold this, and does not send its own tokens to the API server, which does not know them: ask the API server itself")
	case user.Certificate:
		return forbidden("KRM does not hold this, and cannot send a client certificate on to the API server: use a bearer token, such as one of \"kubectl create token\", or ask the API server itself")
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return &metav1.Status{
			Code: http.StatusMethodNotAllowed, Reason: metav1.StatusReasonMethodNotAllowed,
			Message: "KRM does not send " + r.Method + " to the API server, which has no use for it",
		}
	case p.mode == ModeReads && !isRead(r):
		return forbidden("KRM sends only reads to the API server: ask the API server itself, or start KRM with --passthrough=all")
	}
	return nil
}

// isRead says whether r changes nothing and opens no way into a container. A path
// that the API server might understand otherwise than we do is no read.
func isRead(r *http.Request) bool {
	clean := path.Clean(r.URL.Path)
	if r.Header.Get("Upgrade") != "" || clean != r.URL.Path && clean+"/" != r.URL.Path {
		return false
	}
	a := auth.AttributesOf(r)
	if r.Method == http.MethodPost {
		return isSelfReview(a)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	return a.Verb != "proxy" && !slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, strings.ToLower(a.Subresource))
}

// isSelfReview says whether a asks the API server what it thinks of the caller, as
// kubectl auth can-i and whoami do: a question, though its verb is create.
func isSelfReview(a auth.Attributes) bool {
	if a.Name != "" || a.Subresource != "" || a.Namespace != "" {
		return false
	}
	switch a.Group {
	case "authorization.k8s.io":
		return a.Resource == "selfsubjectaccessreviews" || a.Resource == "selfsubjectrulesreviews"
	case "authentication.k8s.io":
		return a.Resource == "selfsubjectreviews"
	}
	return false
}

func forbidden(message string) *metav1.Status {
	return &metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: message}
}

func unavailable() *metav1.Status {
	return &metav1.Status{
		Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
		Message: "KRM does not hold this, and the API server does not answer now: try again later",
		Details: &metav1.StatusDetails{RetryAfterSeconds: 1},
	}
}

// writeStatus answers with a failure.
func writeStatus(w http.ResponseWriter, status *metav1.Status) {
	status.Kind, status.APIVersion, status.Status = "Status", "v1", metav1.StatusFailure
	text, err := json.Marshal(status)
	if err != nil {
		panic("BUG: a status that is no JSON: " + err.Error())
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache, private")
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		header.Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	w.WriteHeader(int(status.Code))
	_, _ = w.Write(append(text, '\n')) // whoever has gone reads no status
}
