package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// retrySeconds is when to ask again what could not be decided.
const retrySeconds = 1

// unauthenticated is the API server's answer to those whom it does not know.
func unauthenticated() error { return apierrors.NewUnauthorized("Unauthorized") }

// forbidden is the API server's answer to those who may not; why is "" or more
// about the reason.
func forbidden(user User, a Attributes, why string) error {
	var text string
	switch {
	case a.Resource == "":
		text = fmt.Sprintf("User %q cannot %s path %q", user.Name, a.Verb, a.Path)
	case a.Namespace != "":
		text = fmt.Sprintf("User %q cannot %s resource %q in API group %q in the namespace %q", user.Name, a.Verb, a.full(), a.Group, a.Namespace)
	default:
		text = fmt.Sprintf("User %q cannot %s resource %q in API group %q at the cluster scope", user.Name, a.Verb, a.full(), a.Group)
	}
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text) // as the API server does: browsers might show it
	if why != "" {
		text += ": " + why
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name, errors.New(text))
}

// refused is a 403 that is none of the API server's.
func refused(format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Message: fmt.Sprintf(format, args...),
	}}
}

// full is the resource with its subresource: "pods/log".
func (a Attributes) full() string {
	if a.Subresource == "" {
		return a.Resource
	}
	return a.Resource + "/" + a.Subresource
}

// undecided is the answer while the API server cannot be asked. The cause stays in
// the log: it may name hosts that are none of the caller's business.
func undecided(what string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
		Message: "the API server cannot be asked now " + what + ": try again later",
		Details: &metav1.StatusDetails{RetryAfterSeconds: retrySeconds},
	}}
}
