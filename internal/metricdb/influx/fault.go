package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// notLetIn is what a user reads whom the server does not know.
const notLetIn = "InfluxDB does not know the user or the token, or does not let it do that"

// refusal is an answer of the server that is an error.
type refusal struct {
	status int
	text   string
}

// Error has the status, and the beginning of what the server says.
func (r *refusal) Error() string {
	return fmt.Sprintf("InfluxDB answers %d %s: %s", r.status, http.StatusText(r.status), r.text)
}

// said makes an error of the contract of what influxdb-client-go returns.
func said(verb string, err error) error {
	if err == nil {
		return nil
	}
	var answer *influxhttp.Error
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return fault(verb, err)
	}
	r := &refusal{status: answer.StatusCode, text: answer.Message}
	var syntax *json.SyntaxError
	switch text := answer.Header.Get("X-Influxdb-Error"); {
	case text != "": // 1.x says it there, too, and the client does not know how it says it in the body
		r.text = text
	case r.text == "" && answer.Err != nil && !errors.As(answer.Err, &syntax):
		r.text = answer.Err.Error()
	}
	r.text = short(strings.TrimSpace(r.text))
	return fault(verb, r)
}

// fault makes an error of the contract.
func fault(verb string, err error) error {
	var r *refusal
	switch {
	case err == nil, errors.Is(err, metricdb.ErrUnavailable), errors.Is(err, metricdb.ErrInvalid), errors.Is(err, metricdb.ErrFull):
		return err
	case errors.Is(err, context.Canceled) && !errors.As(err, &r):
		return err
	case errors.As(err, &r) && (r.status == http.StatusUnauthorized || r.status == http.StatusForbidden):
		return fmt.Errorf("%w: %s: %s: %w", metricdb.ErrUnavailable, verb, notLetIn, err)
	case errors.As(err, &r) && r.full():
		return fmt.Errorf("%w: %s: InfluxDB's disk: %w", metricdb.ErrFull, verb, err)
	}
	return fmt.Errorf("%w: %s: %w", metricdb.ErrUnavailable, verb, err)
}

// full says whether the server has no room left.
func (r *refusal) full() bool {
	return r.status == http.StatusInsufficientStorage || r.status >= 500 && isNoSpace(r.text)
}

func isNoSpace(text string) bool {
	return strings.Contains(text, "no space left") || strings.Contains(text, "disk quota exceeded") || strings.Contains(text, "not enough space")
}

// missing says whether the database, the bucket or the retention policy is not there.
func (r *refusal) missing() bool {
	return r.status == http.StatusNotFound || strings.Contains(r.text, "retention policy not found") || strings.Contains(r.text, "database not found")
}

var droppedCount = regexp.MustCompile(`dropped=(\d+)`)

// dropped is how many of the points were refused while the others were stored; not ok
// if none was stored, as far as is known. InfluxDB 1.x counts lines that it cannot parse apart.
func (r *refusal) dropped(samples int) (n int, ok bool) {
	if !strings.Contains(r.text, "partial write") {
		return 0, false
	}
	match := droppedCount.FindStringSubmatch(r.text)
	if match == nil {
		return 0, false
	}
	n, _ = strconv.Atoi(match[1])
	n += strings.Count(r.text, "unable to parse")
	return min(max(n, 1), samples), true
}
