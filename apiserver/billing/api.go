// Package billing answers billing systems: POST /api/{metric} for the samples of one
// metric and their sums, POST /api/report for what a month came to. It reads the metric
// database, and has credentials of its own.
package billing

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// DB is what is read of the metric database: a part of metricdb.DB, which says what
// the methods do.
type DB interface {
	Runs(ctx context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error]
	Points(ctx context.Context, q metricdb.Query, limit int) iter.Seq2[metricdb.Point, error]
	Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error)
	Tags(ctx context.Context, q metricdb.Query, by ...string) ([]metricdb.Tags, error)
	Metrics(ctx context.Context, q metricdb.Query) ([]string, error)
	Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error)
	Records(ctx context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error]
	RecordTotals(ctx context.Context, q metricdb.RecordQuery, by ...string) ([]metricdb.RecordGroup, error)
}

// Answer answers an aggregation, as metricdb.DB.Aggregate does and to the last bit the
// same, but faster where it can.
type Answer func(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error)

// Coverage says how complete an answer is.
type Coverage struct {
	// Expected is how many samples each group should have; nil if that is not known.
	Expected []int64
	// Complete is false if data of the interval may still come.
	Complete bool
}

// Billed sums the greater of usage and request, sample by sample, by the tags by. A
// sample of the one without the other counts whole. q is of the usage of CPU or memory;
// of groups Tags and Steps are set.
type Billed func(ctx context.Context, q metricdb.Query, by ...string) ([]metricdb.Group, error)

// Lives returns the pods that were there at any moment of [from, to), in any order;
// where names tags of theirs.
type Lives func(ctx context.Context, from, to time.Time, where ...metricdb.Match) ([]Life, error)

// Options are the settings of an API; the zero value is the default.
type Options struct {
	// Answer answers aggregations; DB.Aggregate does if it is nil.
	Answer Answer
	// Billed sums what is billed; samples are read if it is nil.
	Billed Billed
	// Lives tells when pods lived; the records krm/pod are read, all of them, if it is nil.
	Lives Lives
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
	// Parallel is how many requests are answered at a time; more are told to come back.
	// 16 if 0.
	Parallel int64
	// LabelSeparator is what parts labels in the tag "labels". "," if "".
	LabelSeparator string
	// GPUs are the extended resources whose requests are GPUs. nvidia.com/gpu and
	// amd.com/gpu if nil.
	GPUs []string
}

// API answers from a DB. It may be used by several goroutines at once.
type API struct {
	db       DB
	options  Options
	log      *slog.Logger
	attempts *attempts
	running  *semaphore.Weighted
}

// New returns an API that answers from db.
func New(db DB, options Options, log *slog.Logger) *API {
	options.Resolution = cmp.Or(options.Resolution, 30*time.Second)
	options.Timeout = cmp.Or(options.Timeout, 20*time.Second)
	options.ReportTimeout = cmp.Or(options.ReportTimeout, 2*time.Minute)
	options.RefusalDelay = cmp.Or(options.RefusalDelay, 500*time.Millisecond)
	options.Attempts = cmp.Or(options.Attempts, 10)
	options.AttemptEvery = cmp.Or(options.AttemptEvery, 6*time.Second)
	options.Parallel = cmp.Or(options.Parallel, 16)
	options.LabelSeparator = cmp.Or(options.LabelSeparator, ",")
	if options.GPUs == nil {
		options.GPUs = []string{"nvidia.com/gpu", "amd.com/gpu"}
	}
	a := &API{
		db: db, options: options, log: log, running: semaphore.NewWeighted(options.Parallel),
		attempts: newAttempts(options.Attempts, options.AttemptEvery),
	}
	if options.Answer == nil {
		a.options.Answer = a.aggregate
	}
	if options.Billed == nil {
		a.options.Billed = a.rawBilled
	}
	if options.Lives == nil {
		a.options.Lives = a.recordedLives
	}
	return a
}

// aggregate is Answer from samples alone.
func (a *API) aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, Coverage, error) {
	groups, err := a.db.Aggregate(ctx, q, g)
	return groups, Coverage{Complete: true}, err
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

// admit has answer called if the caller may ask and there is room.
func (a *API) admit(q request, answer func(request) error) error {
	if q.Request.Method != http.MethodPost {
		q.Header("Allow", http.MethodPost)
		return faultf(http.StatusMethodNotAllowed, "method %s: want POST", q.Request.Method)
	}
	if err := a.authenticate(q); err != nil {
		return err
	}
	if !a.running.TryAcquire(1) {
		return unavailable("%d requests are being answered already: try again", a.options.Parallel)
	}
	defer a.running.Release(1)
	return answer(q)
}
