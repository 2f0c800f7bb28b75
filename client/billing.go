package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Billing asks what was used: the samples of one metric and their sums, and reports
// over a month. It has credentials of its own ([Billing.As]), besides the client's.
type Billing struct {
	client             *Client
	username, password string
}

// Billing asks what was used.
func (c *Client) Billing() Billing { return Billing{client: c} }

// As shows these credentials: the server's API_USERNAME and API_PASSWORD. Wrong ones are
// IsUnauthorized; after some of them the address is IsTooManyRequests for a while.
func (b Billing) As(username, password string) Billing {
	b.username, b.password = username, password
	return b
}

// The values of BillingQuery.Agg.
const (
	PodByNamespace = "pod-by-namespace" // sums of the pods of the namespace
	AllNamespace   = "all-namespace"    // sums of all namespaces
	AllPod         = "all-pod"          // sums of all pods
)

// NoLimit as BillingQuery.Limit asks for all points.
const NoLimit = -1

// BillingQuery says what to ask of a metric. The zero value, with a Metric, is the
// newest 100 points of the last hour in the namespace default.
type BillingQuery struct {
	Metric            string    // "cpu/usage_rate"
	Namespace         string    // "default" if ""
	Limit             int       // of points: 100 if 0, all if NoLimit
	Agg               string    // "" asks for single points
	Begin, End        time.Time // [Begin, End): an hour before now, and now, where zero
	Level             string    // "container", "pod", "namespace", "node" or "cluster"; the metric's own if ""
	ExcludeNamespaces []string  // left out of AllNamespace and AllPod
	Cluster           string    // all if ""
}

// body is the query as the server reads it.
func (q BillingQuery) body() ([]byte, error) {
	fields := map[string]any{}
	set := func(name string, value any, given bool) {
		if given {
			fields[name] = value
		}
	}
	set("namespace", q.Namespace, q.Namespace != "")
	set("limit", max(q.Limit, 0), q.Limit != 0)
	set("agg", q.Agg, q.Agg != "")
	set("timeBeginInterval", q.Begin.UTC().Format(time.RFC3339Nano), !q.Begin.IsZero())
	set("timeEndInterval", q.End.UTC().Format(time.RFC3339Nano), !q.End.IsZero())
	set("level", q.Level, q.Level != "")
	set("excludeNamespaces", q.ExcludeNamespaces, len(q.ExcludeNamespaces) > 0)
	set("cluster", q.Cluster, q.Cluster != "")
	return json.Marshal(fields)
}

// BillingAnswer is what a metric came to. Numbers are as the server wrote them, so that
// integers keep all digits.
type BillingAnswer struct {
	Rows       []BillingRow
	Interval   string // "[begin, end)", RFC 3339
	Resolution string // how far apart samples are: "30s"; several if it was changed
	Complete   bool   // false while data of the interval may still come
}

// BillingRow is a point, or the sums of a group.
type BillingRow struct {
	Time      time.Time `json:"time"` // of a group, the interval's begin
	Unit      string    `json:"unit"` // of Value, Sum, Mean and Max
	Level     string    `json:"level"`
	Cluster   string    `json:"cluster_name"`
	Namespace string    `json:"namespace_name"`
	Pod       string    `json:"pod_name"`
	Resource  string    `json:"resource_id"`

	// Of a point.
	Value     json.Number `json:"value"`
	Type      string      `json:"type"`
	Container string      `json:"container_name"`
	Node      string      `json:"nodename"`
	Labels    string      `json:"labels"`

	// Of a group. Integral is the metric over the time, or a counter's increase: bill it
	// and not Sum, which depends on how often was measured.
	PodUID       string      `json:"pod_uid"`
	Sum          json.Number `json:"sum"`
	Integral     json.Number `json:"integral"`
	IntegralUnit string      `json:"integral_unit"`
	Mean         json.Number `json:"mean"`
	Max          json.Number `json:"max"`
	Samples      int64       `json:"samples"`
	Expected     int64       `json:"expected"` // what the resolution promises over the pods' lives
	Coverage     float64     `json:"coverage"` // Samples of Expected
}

// Query asks for a metric's points, or for sums of them by pod or namespace. The
// errors are IsNotFound for an unknown metric, IsBadRequest for what the server refuses,
// IsServiceUnavailable while the metric database is away.
func (b Billing) Query(ctx context.Context, q BillingQuery) (*BillingAnswer, error) {
	body, err := q.body()
	if err != nil {
		return nil, fmt.Errorf("encode the query: %w", err)
	}
	if q.Metric == "" || strings.ContainsAny(q.Metric, "%?#") {
		return nil, fmt.Errorf("metric %q: want a name such as cpu/usage_rate", q.Metric)
	}
	got, err := b.post(ctx, "/api/"+q.Metric, mediaJSON, body)
	if err != nil {
		return nil, err
	}
	answer := &BillingAnswer{
		Interval: got.header.Get("Krm-Interval"), Resolution: got.header.Get("Krm-Resolution"), Complete: got.header.Get("Krm-Complete") == "true",
	}
	if err := json.Unmarshal(got.payload.body, &answer.Rows); err != nil {
		return nil, fmt.Errorf("POST %s: decode: %w: %s", got.url, err, excerpt(got.payload.body))
	}
	return answer, nil
}

// post sends body, and sends it again while that makes sense: it changes nothing.
func (b Billing) post(ctx context.Context, path, accept string, body []byte) (answer, error) {
	for try := 0; ; try++ {
		got, again, err := b.try(ctx, question{Request: Request{Path: path, Accept: accept}}, body)
		if err == nil || !again.worthwhile || try >= b.client.retries || ctx.Err() != nil {
			return got, err
		}
		if !wait(ctx, try, again.after) {
			return answer{}, interrupted(ctx, err)
		}
	}
}

func (b Billing) try(ctx context.Context, asked question, body []byte) (answer, again, error) {
	c := b.client
	timed, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no whole answer within %v: %w", c.timeout, context.DeadlineExceeded))
	defer cancel()
	message, err := c.message(timed, http.MethodPost, asked)
	if err != nil {
		return answer{}, again{}, err
	}
	message.Header.Set("Content-Type", mediaJSON)
	message.Header.Set("X-USERNAME", b.username)
	message.Header.Set("X-PASSWORD", b.password)
	message.Body, message.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	message.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	response, err := c.http.Do(message)
	if err != nil {
		return answer{}, again{worthwhile: mayPass(err)}, connectionError(message, err)
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	if response.StatusCode != http.StatusOK {
		code := response.StatusCode
		return answer{}, again{retryable(code) && code != http.StatusTooManyRequests, retryAfter(response.Header)}, billingRefusal(message, response)
	}
	whole, err := readAll(response)
	if err != nil {
		return answer{}, again{worthwhile: true}, connectionError(message, fmt.Errorf("read the answer: %w", err))
	}
	got, err := newAnswer(message, response, whole)
	if err == nil && !isMedia(response.Header, asked.Accept) {
		err = fmt.Errorf("POST %s: the answer is of type %q, want %s (is this KRM's address?): %s",
			place(message.URL), response.Header.Get("Content-Type"), asked.Accept, excerpt(whole))
	}
	return got, again{}, err
}

// billingRefusal reads an error of the billing API, which has a form of its own.
func billingRefusal(message *http.Request, response *http.Response) error {
	err := refusal(message, response)
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil {
		return err
	}
	for _, cause := range status.ErrStatus.Details.Causes {
		var said struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse && json.Unmarshal([]byte(cause.Message), &said) == nil && said.Message != "" {
			status.ErrStatus.Message = fmt.Sprintf("POST %s: %s", place(message.URL), said.Message)
		}
	}
	return status
}
