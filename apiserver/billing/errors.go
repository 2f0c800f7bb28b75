package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// fault is an error that the client is told.
type fault struct {
	Code    int           `json:"code"`
	Message string        `json:"message"`
	after   time.Duration // when to try again; 0 does not say
	reason  string        // its class, for the metric and the log
}

func (f *fault) Error() string { return f.Message }

func faultf(code int, format string, values ...any) *fault {
	return &fault{Code: code, Message: fmt.Sprintf(format, values...), reason: reasons[code]}
}

// reasons are the classes of refusals that have a code of their own.
var reasons = map[int]string{
	http.StatusBadRequest:            "request",
	http.StatusUnauthorized:          "credentials",
	http.StatusNotFound:              "metric",
	http.StatusMethodNotAllowed:      "method",
	http.StatusRequestEntityTooLarge: "size",
	http.StatusUnsupportedMediaType:  "encoding",
	http.StatusTooManyRequests:       "attempts",
	http.StatusInternalServerError:   "internal",
}

// unavailable is for what passes: busy, away or slow.
func unavailable(reason, format string, values ...any) *fault {
	f := faultf(http.StatusServiceUnavailable, format, values...)
	f.after, f.reason = 5*time.Second, reason
	return f
}

// excerptBytes is how much of a bad value is repeated.
const excerptBytes = 120

// badField says what is wrong with a field of the body, whose value is JSON.
func badField(name string, value []byte, want string) *fault {
	return faultf(http.StatusBadRequest, "%s: %s: want %s", name, shortened(string(value)), want)
}

var errTooSlow = errors.New("the metric database took too long")

// faultOf maps errors to what the client is told. The text of unknown ones stays in
// the log.
func faultOf(err error) *fault {
	var known *fault
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, metricdb.ErrUnavailable):
		return unavailable("away", "the metric database is away: try again")
	case errors.Is(err, errTooSlow), errors.Is(err, context.DeadlineExceeded):
		return unavailable("slow", "the metric database took too long: try again, or ask for a shorter interval")
	case errors.Is(err, metricdb.ErrInvalid):
		return faultf(http.StatusBadRequest, "%v", err)
	}
	return faultf(http.StatusInternalServerError, "an internal error: the server's log tells more")
}

// fail answers with an error. If part of an answer is out, it cuts the connection, so
// that nobody takes the part for the whole.
func (a *API) fail(q request, err error) {
	f := faultOf(err)
	switch {
	case q.Request.Context().Err() != nil:
		a.refusals.count("gone", q, err)
		return
	case q.Writer.Written():
		a.refusals.count("cut", q, err)
		panic(http.ErrAbortHandler)
	}
	a.refusals.count(f.reason, q, err)
	if f.after > 0 {
		q.Header("Retry-After", strconv.Itoa(int((f.after+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(f)
	if err != nil {
		panic("BUG: encode an error: " + err.Error())
	}
	for _, name := range []string{"Krm-Interval", "Krm-Resolution", "Krm-Complete"} {
		q.Writer.Header().Del(name)
	}
	q.Data(f.Code, "application/json", append(body, '\n'))
}
