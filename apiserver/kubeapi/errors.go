package kubeapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
)

// WriteError answers with err as a metav1.Status. What is not an APIStatus becomes
// a 500 whose text stays in the log.
func WriteError(c *gin.Context, log *slog.Logger, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		log.Error("request failed", "path", c.Request.URL.Path, "err", err)
		known = apierrors.NewInternalError(errors.New("see the server's log"))
	}
	status := known.Status()
	status.Kind, status.APIVersion, status.Status = "Status", "v1", metav1.StatusFailure
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		c.Header("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(status); err != nil {
		panic("BUG: encode a Status: " + err.Error())
	}
	c.Header("Content-Length", strconv.Itoa(body.Len()))
	c.Data(int(status.Code), "application/json", body.Bytes())
	c.Abort()
}

func failure(code int32, reason metav1.StatusReason, format string, args ...any) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}}
}

// BadRequest says what is wrong with the request: name the parameter, its value
// and what is accepted.
func BadRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, metav1.StatusReasonBadRequest, format, args...)
}

// NoSuchPath says that nothing is served at the path.
func NoSuchPath(format string, args ...any) error {
	return failure(http.StatusNotFound, metav1.StatusReasonNotFound,
		"the server could not find the requested resource: "+format, args...)
}

// MethodNotAllowed says that the path is only read. The caller sets Allow.
func MethodNotAllowed(method string) error {
	return failure(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
		"the server does not allow this method on the requested resource: %s", method)
}

// notImplemented refuses a parameter that would change the answer's meaning.
func notImplemented(parameter, value string) error {
	return failure(http.StatusNotImplemented, "NotImplemented", "parameter %s=%q is not supported by this server", parameter, value)
}

// Unavailable asks to come back in a second.
func Unavailable(format string, args ...any) error {
	err := failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, format, args...)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return err
}

func notSynced(m *mirror.Mirror) error {
	status := m.Status()
	if status.Err != nil {
		return Unavailable("%v cannot be served yet: the server is cut off from Redis", m.Resource())
	}
	return Unavailable("%v cannot be served yet: %s", m.Resource(), status.Progress())
}
