// Package billing answers billing systems: POST /api/{metric} for the samples of one
// metric and their sums, POST /api/report for what a month came to. It reads the metric
// database, and has credentials of its own.
package billing

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// Options are the settings of an API; the zero value is the default.
type Options struct {
	// Credentials are what callers have to show; without them everybody is refused.
	Credentials Credentials
	// Prices are what reports reckon with; they have no costs if it is nil.
	Prices *Prices
	// Resolution is how far apart batches are said to be where the database does not
	// know. 30 s if 0.
	Resolution time.Duration
	// Timeout is how long the database may take for the first row of an answer, and
	// ReportTimeout for a report. 20 s and 2 min if 0.
	Timeout, ReportTimeout time.Duration
	// RefusalDelay is how long a refusal of credentials takes. 500 ms if 0.
	RefusalDelay time.Duration
	// Attempts is how many refusals an address has before it must wait, and it gets one
	// back each AttemptEvery. 10 and 6 s if 0.
	Attempts     int
	AttemptEvery time.Duration
	// Parallel is how many questions about metrics are answered at a time; more are told
	// to come back. 16 if 0.
	Parallel int64
	// Reports is how many reports are made at a time. Four times as many wait, up to
	// ReportWait; more are told to come back. 2 and 30 s if 0.
	Reports    int64
	ReportWait time.Duration
	// Metrics counts refusals; nil counts where nobody looks.
	Metrics *Metrics
	// LabelSeparator is what parts labels in the tag "labels". "," if "".
	LabelSeparator string
	// GPUs are the extended resources whose requests are GPUs. nvidia.com/gpu and
	// amd.com/gpu if nil.
	GPUs []string
}

// API answers from a metric database. It may be used by several goroutines at once.
type API struct {
	db       metricdb.DB
	options  Options
	log      *slog.Logger
	attempts *attempts
	refusals *refusals
	running  *semaphore.Weighted // questions about metrics
	reports  *semaphore.Weighted // that are being made
	queue    *semaphore.Weighted // reports that are being made or wait
}

// New returns an API that answers from db: from roll-ups, and where there are none yet
// from samples.
func New(db metricdb.DB, options Options, log *slog.Logger) *API {
	options.Resolution = cmp.Or(options.Resolution, 30*time.Second)
	options.Timeout = cmp.Or(options.Timeout, 20*time.Second)
	options.ReportTimeout = cmp.Or(options.ReportTimeout, 2*time.Minute)
	options.RefusalDelay = cmp.Or(options.RefusalDelay, 500*time.Millisecond)
	options.Attempts = cmp.Or(options.Attempts, 10)
	options.AttemptEvery = cmp.Or(options.AttemptEvery, 6*time.Second)
	options.Parallel = cmp.Or(options.Parallel, 16)
	options.Reports = cmp.Or(options.Reports, 2)
	options.ReportWait = cmp.Or(options.ReportWait, 30*time.Second)
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.LabelSeparator = cmp.Or(options.LabelSeparator, ",")
	if options.GPUs == nil {
		options.GPUs = []string{"nvidia.com/gpu", "amd.com/gpu"}
	}
	return &API{
		db: db, options: options, log: log, refusals: newRefusals(options.Metrics, log),
		attempts: newAttempts(options.Attempts, options.AttemptEvery),
		running:  semaphore.NewWeighted(options.Parallel),
		reports:  semaphore.NewWeighted(options.Reports), queue: semaphore.NewWeighted(options.Reports * 5),
	}
}

// maxBody is how long a request's body may be.
const maxBody = 64 << 10

// request is what a client asks for.
type request struct {
	*gin.Context
	now time.Time
}

// Serve answers a request for billing; handled is false, and nothing written, for
// those that are for something else: GET /api and /api/v1 are Kubernetes', with all
// that is below the latter.
func (a *API) Serve(c *gin.Context) (handled bool) {
	name, below := strings.CutPrefix(c.Request.URL.Path, "/api/")
	if !below || name == "v1" || strings.HasPrefix(name, "v1/") {
		return false
	}
	q := request{Context: c, now: time.Now().UTC()}
	verb, answer := "billing", func(q request) error { return a.metric(q, name) }
	if name == "report" || name == "report/" {
		verb, answer = "billing-report", a.report
	} else if c.Request.Method != http.MethodPost {
		if _, ok := longestMetric(name); !ok {
			return false
		}
	}
	c.Set(kubeapi.VerbKey, verb)
	if err := a.admit(q, answer); err != nil {
		a.fail(q, err)
	}
	c.Abort()
	return true
}

// admit has answer called if the caller may ask.
func (a *API) admit(q request, answer func(request) error) error {
	if q.Request.Method != http.MethodPost {
		q.Header("Allow", http.MethodPost)
		return faultf(http.StatusMethodNotAllowed, "method %s: want POST", q.Request.Method)
	}
	if err := a.authenticate(q); err != nil {
		return err
	}
	return answer(q)
}
