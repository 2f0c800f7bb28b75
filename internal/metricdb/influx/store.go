package influx

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"

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
	full    *full

	writing sync.Mutex // batches become lines one after the other
	streams map[stream]*lines

	making sync.Mutex
	made   bool // the database and its policies exist

	long      sync.Map // of records: intervals that have many, see cheapestTotals
	calm      calm
	notBefore atomic.Int64 // the server asked us to write nothing until then: Unix nanoseconds
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
	s := &Store{options: options, log: log, calm: newCalm(), streams: map[stream]*lines{}, write: map[string]api.WriteAPIBlocking{}}
	s.full = &full{gauge: options.Metrics.Full}
	if s.queue, err = openQueue(&options, s.full, log); err != nil {
		return nil, err
	}
	transport := options.transport()
	s.http = &http.Client{Transport: transport}
	token, org := options.Token, options.Org
	if !options.version2() {
		token, org = options.User+":"+options.Password, ""
	}
	settings := influxdb2.DefaultOptions().SetUseGZip(true).SetHTTPClient(&http.Client{Transport: patient{transport, &s.notBefore}, Timeout: options.Timeout}).
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

// Health pings the server, and makes the database if it is not there.
func (s *Store) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
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
		if unsaid, ok := s.calm.speak("drain"); ok {
			s.log.Warn("InfluxDB does not take what waits on disk; trying again", "wait", max(wait, s.asked()), "unsaid", unsaid, "err", err)
		}
		if !pause(ctx, max(wait, s.asked())) {
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
			if unsaid, ok := s.calm.speak("unreadable"); ok {
				s.log.Error("a piece of the queue cannot be read: its points are lost", "file", file.name, "points", file.samples, "unsaid", unsaid, "err", err)
			}
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
