package client

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// excerptBytes is how much of a body that we cannot read an error shows.
const excerptBytes = 200

// ConnectionError comes when no whole answer came: the server is not there, the
// connection broke, or the time was up.
type ConnectionError struct {
	Method string
	URL    string // without the query
	Err    error
}

func (e *ConnectionError) Error() string { return fmt.Sprintf("%s %s: %v", e.Method, e.URL, e.Err) }

// Unwrap returns the cause.
func (e *ConnectionError) Unwrap() error { return e.Err }

// statusError makes the error that apierrors.IsNotFound and the like know from
// an answer outside 2xx.
func statusError(request *http.Request, answer *http.Response, body []byte) *apierrors.StatusError {
	binary := isMedia(answer.Header, mediaProtobuf)
	if status, ok := decodeStatus(payload{body, binary}); ok && (binary || isMedia(answer.Header, mediaJSON)) {
		if status.Code == 0 {
			status.Code = int32(answer.StatusCode)
		}
		return &apierrors.StatusError{ErrStatus: status}
	}
	err := apierrors.NewGenericServerResponse(answer.StatusCode, request.Method, schema.GroupResource{}, "",
		excerpt(body), int(retryAfter(answer.Header).Seconds()), true)
	err.ErrStatus.Message = fmt.Sprintf("%s %s: %d %s", request.Method, place(request.URL),
		answer.StatusCode, http.StatusText(answer.StatusCode))
	if text := excerpt(body); text != "" {
		err.ErrStatus.Message += ": " + text
	}
	return err
}

// decodeStatus reads an error as Kubernetes puts it, if it is one.
func decodeStatus(p payload) (status metav1.Status, ok bool) {
	err := p.into(&status, envelope{apiVersion: "v1", kind: "Status"})
	return status, err == nil
}

func isMedia(header http.Header, want string) bool {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && media == want
}

// excerpt is the start of a body on one line, for an error's text.
func excerpt(body []byte) string {
	cut := len(body) > excerptBytes
	if cut {
		body = body[:excerptBytes]
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(body), "�"))
	text = strings.Join(strings.Fields(text), " ")
	if cut {
		text += "…"
	}
	return text
}
