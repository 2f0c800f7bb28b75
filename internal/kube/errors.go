package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// refusal makes an error of what the API server answered. It decides on code and
// reason alone: the message is for people and changes between servers.
// retryAfter is what the answer's header asked for, 0 if nothing.
func refusal(status metav1.Status, retryAfter time.Duration) error {
	cause := &apierrors.StatusError{ErrStatus: status}
	code := status.Code
	switch {
	case code == http.StatusGone || status.Reason == metav1.StatusReasonExpired || status.Reason == metav1.StatusReasonGone:
		return fmt.Errorf("%w: %w", object.ErrExpired, cause)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("the API server does not accept our credentials (check the kubeconfig's token or certificate): %w", cause)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: %w", object.ErrForbidden, cause)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", object.ErrNotFound, cause)
	case code == http.StatusMethodNotAllowed || code == http.StatusNotAcceptable:
		return fmt.Errorf("%w: %w", object.ErrUnsupported, cause)
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		if details := status.Details; details != nil {
			retryAfter = max(retryAfter, time.Duration(details.RetryAfterSeconds)*time.Second)
		}
		if apierrors.HasStatusCause(cause, metav1.CauseTypeResourceVersionTooLarge) {
			// The server is behind. It says so without a time where etcd answers for its cache.
			retryAfter = max(retryAfter, time.Second)
		}
		if retryAfter > 0 {
			return &object.RetryError{After: retryAfter, Err: cause}
		}
	}
	return cause
}

// refused makes an error of an answer that is not a success.
func refused(answer *http.Response) error {
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(answer.Body, most))
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" || status.Message == "" {
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if err != nil {
			line = err.Error()
		}
		status = metav1.Status{Message: fmt.Sprintf("%s: %s", answer.Status, clip([]byte(line)))}
	}
	status.Code = int32(answer.StatusCode)
	return refusal(status, retryAfter(answer.Header))
}

// retryAfter reads the Retry-After header: seconds or a date.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// unsupported says whether the server refused the parameters themselves: too old
// for them, or they are switched off.
func unsupported(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code, reason := status.Status().Code, status.Status().Reason
	return code == http.StatusBadRequest || code == http.StatusUnprocessableEntity ||
		reason == metav1.StatusReasonInvalid || reason == metav1.StatusReasonBadRequest
}

// grants adds to a refusal by RBAC which rule is missing.
func grants(err error, r object.Resource) error {
	if !errors.Is(err, object.ErrForbidden) {
		return err
	}
	return fmt.Errorf("%w: grant verbs list, watch on resource %q in API group %q", err, r.Name, r.Group)
}

// answered is refusal for an error of client-go, which reads answers itself.
func answered(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return refusal(status.Status(), 0)
	}
	return err
}
