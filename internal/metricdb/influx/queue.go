package influx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/klauspost/compress/gzip"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// queue keeps pieces on disk that could not be sent, oldest first, one file each:
// NUMBER-POLICY-SAMPLES.lp.gz. A file is whole or absent, also after a kill. Beyond its
// bound the oldest are given up, and counted.
type queue struct {
	dir     string
	bound   int64
	metrics *metricdb.Metrics
	full    *full
	log     *slog.Logger
	calm    calm
	wake    chan struct{} // has room for one: there is something to send

	mu    sync.Mutex
	files []queued // oldest first
	bytes int64
	next  uint64
}

type queued struct {
	number  uint64
	name    string
	policy  string
	samples int
	bytes   int64
}

const queueSuffix = ".lp.gz"

// openQueue reads what a former process left.
func openQueue(options *Options, full *full, log *slog.Logger) (*queue, error) {
	if options.QueueDir == "" {
		return nil, nil
	}
	q := &queue{dir: options.QueueDir, bound: options.QueueBytes, metrics: options.Metrics, full: full, log: log, calm: newCalm(), wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the queue's folder: %w", err)
	}
	entries, err := os.ReadDir(q.dir)
	if err != nil {
		return nil, fmt.Errorf("read the queue's folder: %w", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".tmp") {
			_ = os.Remove(filepath.Join(q.dir, entry.Name())) // what a kill cut off
			continue
		}
		file, ok := parseQueued(entry.Name())
		info, err := entry.Info()
		if !ok || err != nil {
			continue
		}
		file.bytes = info.Size()
		q.files = append(q.files, file)
		q.bytes += file.bytes
		q.next = max(q.next, file.number+1)
	}
	slices.SortFunc(q.files, func(a, b queued) int { return strings.Compare(a.name, b.name) })
	if len(q.files) > 0 {
		q.wake <- struct{}{}
	}
	q.show()
	return q, nil
}

func parseQueued(name string) (file queued, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, queueSuffix), "-")
	if len(parts) != 3 || !strings.HasSuffix(name, queueSuffix) || parts[1] != samplePolicy && parts[1] != recordPolicy {
		return file, false
	}
	number, err1 := strconv.ParseUint(parts[0], 10, 64)
	samples, err2 := strconv.Atoi(parts[2])
	return queued{number: number, name: name, policy: parts[1], samples: samples}, err1 == nil && err2 == nil
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.files) == 0
}

// put makes pieces durable. Where there is room for some only, those are there, too.
func (q *queue) put(pieces []piece) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.putAll(pieces)
	q.full.queue(errors.Is(err, metricdb.ErrFull))
	q.drop()
	q.show()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return errors.Join(err, syncDir(q.dir))
}

func (q *queue) putAll(pieces []piece) error {
	for _, one := range pieces {
		err := q.putOne(one)
		switch {
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
			return fmt.Errorf("%w: put points into the queue: %w", metricdb.ErrFull, err)
		case err != nil:
			return fmt.Errorf("put points into the queue: %w", err)
		}
	}
	return nil
}

func (q *queue) putOne(one piece) error {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if _, err := w.Write(one.lines); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	file := queued{number: q.next, policy: one.policy, samples: one.samples, bytes: int64(packed.Len())}
	file.name = fmt.Sprintf("%020d-%s-%d%s", file.number, one.policy, one.samples, queueSuffix)
	path := filepath.Join(q.dir, file.name)
	err := writeFile(path+".tmp", packed.Bytes())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		_ = os.Remove(path + ".tmp") // it is no piece; openQueue removes it, too
		return err
	}
	q.next++
	q.files = append(q.files, file)
	q.bytes += file.bytes
	return nil
}

func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// drop gives up the oldest pieces beyond the bound.
func (q *queue) drop() {
	lost := 0
	for q.bytes > q.bound && len(q.files) > 1 {
		lost += q.files[0].samples
		q.removeLocked(q.files[0].number)
	}
	if lost > 0 {
		q.metrics.Drop("overflow", lost)
		if unsaid, ok := q.calm.speak("overflow"); ok {
			q.log.Error("the queue for InfluxDB is full: its oldest points are lost", "points", lost, "bound_bytes", q.bound, "dir", q.dir, "unsaid", unsaid)
		}
	}
}

// oldest returns what is to be sent next.
func (q *queue) oldest() (one piece, file queued, ok bool, err error) {
	q.mu.Lock()
	if len(q.files) == 0 {
		q.mu.Unlock()
		return one, file, false, nil
	}
	file = q.files[0]
	q.mu.Unlock()
	packed, err := os.Open(filepath.Join(q.dir, file.name))
	if err != nil {
		return one, file, true, err
	}
	defer packed.Close() //nolint:errcheck // it was only read
	r, err := gzip.NewReader(packed)
	if err != nil {
		return one, file, true, err
	}
	lines, err := io.ReadAll(r)
	return piece{policy: file.policy, lines: lines, samples: file.samples}, file, true, err
}

// remove takes a piece out that was sent, or given up.
func (q *queue) remove(number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removeLocked(number)
	q.show()
}

func (q *queue) removeLocked(number uint64) {
	for i, file := range q.files {
		if file.number == number {
			if err := os.Remove(filepath.Join(q.dir, file.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				q.log.Warn("a sent piece stays in the queue; it will be sent again, which changes nothing", "err", err)
			}
			q.files = slices.Delete(q.files, i, i+1)
			q.bytes -= file.bytes
			return
		}
	}
}

func (q *queue) show() {
	q.metrics.QueueBytes.Set(float64(q.bytes))
	q.metrics.QueueFiles.Set(float64(len(q.files)))
}
