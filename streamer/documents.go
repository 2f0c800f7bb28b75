package streamer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// DocumentSource is the API server as the source of its own documents.
// internal/kube implements it.
type DocumentSource interface {
	// ReadDocuments reads object.DiscoveryPart or object.OpenAPIPart, of which
	// known holds the revisions that need not be read again.
	ReadDocuments(ctx context.Context, part string, known object.Documents) (object.DocumentsRead, error)
}

// DocumentSink is where the documents are kept. internal/store implements it.
type DocumentSink interface {
	// DocumentRevisions returns what is kept, without the documents' data.
	DocumentRevisions(ctx context.Context) (object.Documents, error)
	// PutDocuments replaces one part by what was read, if what is kept is still
	// since; otherwise it writes nothing and returns object.ErrLost.
	PutDocuments(ctx context.Context, part string, since object.Documents, read object.DocumentsRead) error
}

// DocumentsOptions are what NewDocuments does not need. The zero value is the default.
type DocumentsOptions struct {
	Metrics   *DocumentsMetrics // nil: measured but not registered
	Discovery time.Duration     // how often discovery is checked, default 15 s
	OpenAPI   time.Duration     // how often OpenAPI is, default 60 s; and soon after discovery has changed
}

// DocumentsMetrics are the Prometheus metrics of Documents.
type DocumentsMetrics struct {
	checks    *prometheus.CounterVec
	checkedAt *prometheus.GaugeVec
}

// NewDocumentsMetrics makes them and registers them with reg, unless it is nil.
func NewDocumentsMetrics(reg prometheus.Registerer) *DocumentsMetrics {
	factory := promauto.With(reg)
	return &DocumentsMetrics{
		checks: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_streamer_documents_checks_total",
			Help: "Checks of the API server's discovery and OpenAPI documents, by result: changed, unchanged, skipped (another process checked), overtaken, failed.",
		}, []string{"part", "result"}),
		checkedAt: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "krm_streamer_documents_checked_timestamp_seconds",
			Help: "When the API server last confirmed the stored documents, as this process knows.",
		}, []string{"part"}),
	}
}

// Documents copies the API server's own discovery and OpenAPI documents to where
// the apiservers find them. It needs no lease: several may run, and what one has
// checked lately the others leave alone.
type Documents struct {
	source  DocumentSource
	sink    DocumentSink
	options DocumentsOptions
	log     *slog.Logger

	failing bool      // the last check failed, and that was logged
	soon    time.Time // until then OpenAPI is checked at every turn
}

// NewDocuments makes a Documents. One per process is enough, whatever the number
// of its Streamers.
func NewDocuments(source DocumentSource, sink DocumentSink, options DocumentsOptions, log *slog.Logger) *Documents {
	if options.Metrics == nil {
		options.Metrics = NewDocumentsMetrics(nil)
	}
	options.Discovery = cmp.Or(options.Discovery, 15*time.Second)
	options.OpenAPI = cmp.Or(options.OpenAPI, time.Minute)
	return &Documents{source: source, sink: sink, options: options, log: log}
}

// Run checks and copies until ctx ends, and then returns nil. While the API server
// is away, what is stored stays.
func (d *Documents) Run(ctx context.Context) error {
	var retry backoff
	for {
		wait := d.options.Discovery/2 + rand.N(d.options.Discovery) // processes that start together drift apart
		err := d.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			retry.reset()
		default:
			wait = min(wait, retry.next(err))
		}
		d.tell(err)
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// tell logs the first failure and the first success after it.
func (d *Documents) tell(err error) {
	switch {
	case err != nil && !d.failing:
		d.log.Warn("the API server's documents cannot be checked: what is stored stays", "err", err)
	case err == nil && d.failing:
		d.log.Info("the API server's documents are checked again")
	}
	d.failing = err != nil
}

// turn checks what is due.
func (d *Documents) turn(ctx context.Context) error {
	changed, err := d.check(ctx, object.DiscoveryPart, d.options.Discovery)
	if err != nil {
		return err
	}
	if changed {
		// The API server needs some seconds for the OpenAPI document of a new CRD.
		d.soon = time.Now().Add(d.options.OpenAPI)
	}
	every := d.options.OpenAPI
	if time.Now().Before(d.soon) {
		every = min(every, d.options.Discovery)
	}
	if changed {
		every = 0
	}
	_, err = d.check(ctx, object.OpenAPIPart, every)
	return err
}

// check reads one part unless someone did within about the time every.
func (d *Documents) check(ctx context.Context, part string, every time.Duration) (changed bool, err error) {
	result := "failed"
	defer func() { d.options.Metrics.checks.WithLabelValues(part, result).Inc() }()
	known, err := d.sink.DocumentRevisions(ctx)
	if err != nil {
		return false, err
	}
	checked, ever := known.CheckedAt[part]
	if age := time.Since(checked); ever && age >= 0 && age < every*3/4 {
		result = "skipped"
		d.options.Metrics.checkedAt.WithLabelValues(part).Set(float64(checked.Unix()))
		return false, nil
	}
	read, err := d.source.ReadDocuments(ctx, part, known)
	if err != nil {
		return false, err
	}
	err = d.sink.PutDocuments(ctx, part, known, read)
	switch {
	case errors.Is(err, object.ErrLost):
		result = "overtaken" // by another process that reads them too
		return false, nil
	case err != nil:
		return false, err
	}
	d.options.Metrics.checkedAt.WithLabelValues(part).Set(float64(time.Now().Unix()))
	result = "unchanged"
	if len(read.Changed) > 0 {
		result = "changed"
		d.log.Debug("the API server's documents changed", "part", part, "changed", len(read.Changed), "documents", len(read.Revisions))
	}
	return len(read.Changed) > 0, nil
}
