package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// WriteError answers with err as a metav1.Status. What is not an APIStatus becomes
// a 500 whose text stays in the log.
func WriteError(c *gin.Context, log *slog.Logger, err error) {
	var known apierrors.APIStatus
	switch {
	case errors.Is(c.Request.Context().Err(), context.Canceled): // nobody reads the answer
		c.Abort()
		return
	case errors.Is(err, context.DeadlineExceeded):
		err = apierrors.NewTimeoutError("request did not complete within requested timeout - context deadline exceeded", 0)
	}
	if !errors.As(err, &known) {
		log.Error("request failed", "path", c.Request.URL.Path, "err", err)
		known = apierrors.NewInternalError(errors.New("see the server's log"))
	}
	status := known.Status()
	status.Status = metav1.StatusFailure
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		c.Header("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	if status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden {
		c.Writer.Header().Set("Cache-Control", "no-cache, private")
	}
	body, media := statusBody(c.Request, status)
	header := c.Writer.Header()
	for _, name := range []string{"ETag", "Content-Encoding"} {
		header.Del(name)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.Data(int(status.Code), string(media), body)
	c.Abort()
}

// statusBody writes status in the form that the client accepts.
func statusBody(r *http.Request, status metav1.Status) ([]byte, media) {
	f := form{media: mediaJSON}
	if forms, err := reads(true).choose(r); err == nil && forms[0].shape == shapeObject {
		f = forms[0]
	}
	if f.media == mediaProtobuf {
		return wire.StatusProtobuf(status), f.media
	}
	var t text
	t.addBytes(append(wire.StatusJSON(status), '\n'))
	t, err := forPeople(t, f)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return t.bytes(), f.media
}

func failure(code int32, reason metav1.StatusReason, format string, args ...any) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}}
}

// BadRequest says what is wrong with the request: name the parameter, its value
// and what is accepted.
func BadRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, metav1.StatusReasonBadRequest, format, args...)
}

// NoSuchPath answers that nothing is served at the path, in the API server's words.
func NoSuchPath(c *gin.Context) {
	c.Header("X-Content-Type-Options", "nosniff")
	c.String(http.StatusNotFound, "404 page not found\n")
	c.Abort()
}

// NotFound says that something does not exist, and what does.
func NotFound(format string, args ...any) error {
	return failure(http.StatusNotFound, metav1.StatusReasonNotFound, format, args...)
}

// NoSuchResource says that the resource is not served here.
func NoSuchResource() *apierrors.StatusError {
	err := failure(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	err.ErrStatus.Details = &metav1.StatusDetails{}
	return err
}

// MethodNotAllowed says that the path is only read. The caller sets Allow.
func MethodNotAllowed(method string) error {
	return failure(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
		"the server does not allow this method on the requested resource: %s", method)
}

// Unavailable asks to come back in a second.
func Unavailable(format string, args ...any) *apierrors.StatusError {
	err := failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, format, args...)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return err
}

func tooManyLists() error {
	const text = "too many lists are being answered: come back in a second"
	busy := apierrors.NewTooManyRequests(text, 1)
	busy.ErrStatus.Message = text
	return busy
}

func notSynced(m *mirror.Mirror) error {
	status := m.Status()
	if status.Err != nil {
		return Unavailable("%v cannot be served yet: the server is cut off from Redis", m.Resource())
	}
	return Unavailable("%v cannot be served yet: %s", m.Resource(), status.Progress())
}
