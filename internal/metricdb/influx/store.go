package influx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Store is InfluxDB as a metric database. It implements metricdb.DB.
type Store struct {
	options Options
	log     *slog.Logger
	client  influxdb2.Client
	http    *http.Client
	write   map[string]api.WriteAPIBlocking // by policy
	queue   *queue

	writing sync.Mutex // batches become lines one after the other
	streams map[stream]*lines

	making sync.Mutex
	made   bool // the database and its policies exist
}

type stream struct {
	cluster string
	shard   int
}

var _ metricdb.DB = (*Store)(nil)

// Open checks the settings and reads the queue. It sends nothing: the server may be
// away, and is then tried again at every use.
func Open(options Options, log *slog.Logger) (*Store, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	s := &Store{options: options, log: log, streams: map[stream]*lines{}, write: map[string]api.WriteAPIBlocking{}}
	if s.queue, err = openQueue(&options, log); err != nil {
		return nil, err
	}
	s.http = &http.Client{Transport: options.transport(), Timeout: 0}
	token, org := options.Token, options.Org
	if !options.version2() {
		token, org = options.User+":"+options.Password, ""
	}
	settings := influxdb2.DefaultOptions().SetUseGZip(true).SetHTTPClient(&http.Client{Transport: options.transport(), Timeout: options.Timeout}).
		SetApplicationName("krm").SetLogLevel(0)
	s.client = influxdb2.NewClientWithOptions(options.URL, token, settings)
	for _, policy := range []string{samplePolicy, recordPolicy} {
		s.write[policy] = s.client.WriteAPIBlocking(org, options.bucket(policy))
	}
	return s, nil
}

// Close closes connections. What waits on disk is sent by the next process.
func (s *Store) Close() error {
	s.client.Close()
	s.http.CloseIdleConnections()
	return nil
}

// Write sends a batch, or puts it into the queue on disk.
func (s *Store) Write(ctx context.Context, b *metrics.Batch) error {
	start := time.Now()
	all := s.lines(b)
	if err := s.send(ctx, all); err != nil {
		return err
	}
	s.options.Metrics.WriteTime.Observe(time.Since(start).Seconds())
	return nil
}

func (s *Store) lines(b *metrics.Batch) []piece {
	s.writing.Lock()
	defer s.writing.Unlock()
	who := stream{b.Cluster, b.Shard}
	of := s.streams[who]
	if of == nil {
		of = newLines(&s.options)
		s.streams[who] = of
	}
	return of.batch(b)
}

// WriteRecords sends records, or puts them into the queue on disk.
func (s *Store) WriteRecords(ctx context.Context, all []metricdb.Record) error {
	for i := range all {
		if err := all[i].Check(); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return ctx.Err()
	}
	out := &pieces{}
	records(out, all)
	return s.send(ctx, out.all)
}

// send sends pieces; those that cannot be sent go to the queue. If something waits
// there already, all do.
func (s *Store) send(ctx context.Context, all []piece) error {
	if s.queue != nil && !s.queue.empty() {
		return s.queue.put(all)
	}
	var mu sync.Mutex
	var left []piece
	var fault error
	g := errgroup.Group{}
	g.SetLimit(s.options.Concurrency)
	for _, one := range all {
		g.Go(func() error {
			mu.Lock()
			away := fault != nil
			mu.Unlock()
			var err error
			if !away {
				err = s.sendPiece(ctx, one)
			}
			if away || err != nil {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, one)
				fault = errors.Join(fault, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the pieces' errors are in fault
	if len(left) == 0 {
		return nil
	}
	if s.queue == nil {
		return fault
	}
	s.options.Metrics.Retries.Inc()
	s.log.Warn("points wait on disk for InfluxDB", "pieces", len(left), "err", fault)
	return s.queue.put(left)
}

// sendPiece sends one piece. What the server will never take is counted, and no error.
func (s *Store) sendPiece(ctx context.Context, one piece) error {
	if err := s.make(ctx); err != nil {
		return err
	}
	err := s.write[one.policy].WriteRecord(ctx, strings.TrimSuffix(string(one.lines), "\n"))
	if isMissing(err) {
		s.making.Lock()
		s.made = false
		s.making.Unlock()
		if err := s.make(ctx); err != nil {
			return err
		}
		err = s.write[one.policy].WriteRecord(ctx, strings.TrimSuffix(string(one.lines), "\n"))
	}
	if refused, ok := refusal(err, one.samples); ok {
		s.options.Metrics.Drop("refused", refused)
		s.options.Metrics.Samples.Add(float64(one.samples - refused))
		s.log.Error("InfluxDB refuses points for ever: they are lost", "points", refused, "err", err)
		return nil
	}
	if err != nil {
		return fault("write points", err)
	}
	s.options.Metrics.Samples.Add(float64(one.samples))
	return nil
}

var droppedCount = regexp.MustCompile(`dropped=(\d+)`)

// refusal says whether an error is about the points themselves, and of how many.
func refusal(err error, samples int) (refused int, ok bool) {
	var status *influxhttp.Error
	if !errors.As(err, &status) || status.StatusCode != http.StatusBadRequest && status.StatusCode != http.StatusUnprocessableEntity {
		return 0, false
	}
	refused = samples
	if match := droppedCount.FindStringSubmatch(status.Error()); match != nil {
		if n, err := strconv.Atoi(match[1]); err == nil && n <= samples {
			refused = n
		}
	}
	return refused, true
}

// isMissing says whether the database, the bucket or the retention policy is not there.
func isMissing(err error) bool {
	var status *influxhttp.Error
	if !errors.As(err, &status) {
		return false
	}
	return status.StatusCode == http.StatusNotFound || strings.Contains(status.Error(), "retention policy not found") ||
		strings.Contains(status.Error(), "database not found")
}

// fault makes an error of the contract.
func fault(verb string, err error) error {
	if errors.Is(err, metricdb.ErrUnavailable) || errors.Is(err, metricdb.ErrInvalid) {
		return err
	}
	var status *influxhttp.Error
	var network net.Error
	switch {
	case errors.As(err, &status) && status.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: %s: InfluxDB does not know the user or the token: %w", metricdb.ErrUnavailable, verb, err)
	case errors.As(err, &status), errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %s: %w", metricdb.ErrUnavailable, verb, err)
	case errors.Is(err, context.Canceled):
		return err
	default:
		return fmt.Errorf("%w: %s: %w", metricdb.ErrUnavailable, verb, err)
	}
}

// Health pings the server, and makes the database if it is not there.
func (s *Store) Health(ctx context.Context) error {
	if ok, err := s.client.Ping(ctx); !ok || err != nil {
		if err == nil {
			err = errors.New("it does not answer /ping")
		}
		return fault("ping InfluxDB", err)
	}
	return s.make(ctx)
}

// Run sends what is in the queue, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	if s.queue == nil {
		<-ctx.Done()
		return nil
	}
	wait := firstWait
	for {
		sent, err := s.drain(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			wait = firstWait
			select {
			case <-ctx.Done():
				return nil
			case <-s.queue.wake:
			}
			continue
		}
		if sent {
			wait = firstWait
		}
		s.log.Warn("InfluxDB does not take what waits on disk; trying again", "wait", wait, "err", err)
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, lastWait)
	}
}

const (
	firstWait = time.Second
	lastWait  = time.Minute
)

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// drain sends the queue's pieces until it is empty, or one cannot be sent.
func (s *Store) drain(ctx context.Context) (sent bool, err error) {
	for ctx.Err() == nil {
		one, file, ok, err := s.queue.oldest()
		if !ok {
			return sent, nil
		}
		if err != nil {
			s.options.Metrics.Drop("unreadable", file.samples)
			s.log.Error("a piece of the queue cannot be read: its points are lost", "file", file.name, "points", file.samples, "err", err)
			s.queue.remove(file.number)
			continue
		}
		if err := s.sendPiece(ctx, one); err != nil {
			s.options.Metrics.Retries.Inc()
			return sent, err
		}
		s.queue.remove(file.number)
		sent = true
	}
	return sent, ctx.Err()
}
