package streamer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// library is an API server with documents, and Redis.
type library struct {
	mu      sync.Mutex
	texts   map[string]string // by part: of its one document
	away    error             // what the API server answers instead
	lost    int               // how many writes are overtaken
	reads   map[string][]time.Duration
	begun   time.Time
	stored  object.Documents
	written int
}

func newLibrary() *library {
	return &library{
		texts: map[string]string{object.DiscoveryPart: "d1", object.OpenAPIPart: "o1"}, reads: map[string][]time.Duration{}, begun: time.Now(),
		stored: object.Documents{CheckedAt: map[string]time.Time{}, ByPath: map[string]object.PackedDocument{}},
	}
}

func (l *library) ReadDocuments(_ context.Context, part string, known object.Documents) (object.DocumentsRead, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads[part] = append(l.reads[part], time.Since(l.begun))
	read := object.DocumentsRead{ClusterUID: "u", Revisions: map[string]string{part: l.texts[part]}}
	if known.ByPath[part].Revision != l.texts[part] {
		read.Changed = []object.Document{{Path: part, Revision: l.texts[part]}}
	}
	return read, l.away
}

func (l *library) DocumentRevisions(context.Context) (object.Documents, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	copied := object.Documents{Revision: l.stored.Revision, CheckedAt: map[string]time.Time{}, ByPath: map[string]object.PackedDocument{}}
	for part, at := range l.stored.CheckedAt {
		copied.CheckedAt[part] = at
	}
	for path, d := range l.stored.ByPath {
		copied.ByPath[path] = d
	}
	return copied, nil
}

func (l *library) PutDocuments(_ context.Context, part string, since object.Documents, read object.DocumentsRead) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 || since.Revision != l.stored.Revision {
		l.lost--
		return object.ErrLost
	}
	for _, d := range read.Changed {
		l.written++
		l.stored.Revision = fmt.Sprint(l.written)
		l.stored.ByPath[d.Path] = object.PackedDocument{Revision: d.Revision}
	}
	l.stored.CheckedAt[part] = time.Now()
	return nil
}

func (l *library) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// asked returns how often the API server was asked for part since the last call.
func (l *library) asked(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = len(l.reads[part])
	l.reads[part] = nil
	return n
}

// run runs f beside n Documents on one library, in a bubble of time.
func runDocuments(t *testing.T, n int, f func(*library, *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l, logged := newLibrary(), &bytes.Buffer{}
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return logged.Write(p)
		}), nil))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range n {
			d := NewDocuments(l, l, DocumentsOptions{}, log)
			all.Go(func() {
				if err := d.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		f(l, logged)
		cancel()
		all.Wait()
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// pass lets time pass, and what is due be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func between(t *testing.T, what string, n, least, most int) {
	t.Helper()
	if n < least || n > most {
		t.Errorf("%s: %d times, want %d to %d", what, n, least, most)
	}
}

func TestDocumentsAreChecked(t *testing.T) {
	runDocuments(t, 1, func(l *library, logged *bytes.Buffer) {
		between(t, "discovery at the start", l.asked(object.DiscoveryPart), 1, 1)
		between(t, "OpenAPI at the start", l.asked(object.OpenAPIPart), 1, 1)
		pass(5 * time.Minute)
		l.asked(object.OpenAPIPart)
		l.asked(object.DiscoveryPart)
		pass(10 * time.Minute)
		between(t, "discovery in 10 min", l.asked(object.DiscoveryPart), 26, 54)
		between(t, "OpenAPI in 10 min", l.asked(object.OpenAPIPart), 8, 14)

		l.change(func() { l.texts[object.DiscoveryPart] = "d2" }) // a CRD; its OpenAPI follows
		pass(time.Minute)
		between(t, "OpenAPI after a change of discovery", l.asked(object.OpenAPIPart), 2, 6)
		if l.written != 3 || logged.Len() > 0 {
			t.Errorf("%d writes; logged %s", l.written, logged)
		}
	})
}

// Several processes ask the API server hardly more often than one.
func TestDocumentsAreCheckedByOne(t *testing.T) {
	runDocuments(t, 8, func(l *library, _ *bytes.Buffer) {
		pass(time.Minute)
		l.asked(object.OpenAPIPart)
		l.asked(object.DiscoveryPart)
		pass(10 * time.Minute)
		between(t, "discovery in 10 min", l.asked(object.DiscoveryPart), 30, 70)
		between(t, "OpenAPI in 10 min", l.asked(object.OpenAPIPart), 8, 20)
		if l.written > 2 {
			t.Errorf("%d writes", l.written)
		}
	})
}

// While the API server is away what is stored stays, and that is said once.
func TestDocumentsWithoutTheAPIServer(t *testing.T) {
	runDocuments(t, 1, func(l *library, logged *bytes.Buffer) {
		l.change(func() { l.away = errors.New("connection refused") })
		pass(10 * time.Minute)
		if n := strings.Count(logged.String(), "level=WARN"); n != 1 || len(l.stored.ByPath) != 2 {
			t.Errorf("%d documents, logged %d times: %s", len(l.stored.ByPath), n, logged)
		}
		l.change(func() { l.away, l.texts[object.DiscoveryPart] = nil, "d2" })
		pass(time.Minute)
		if l.stored.ByPath[object.DiscoveryPart].Revision != "d2" || strings.Count(logged.String(), "level=INFO") != 1 {
			t.Errorf("%v, logged %s", l.stored.ByPath, logged)
		}
	})
}

// A write that another process overtook is tried again.
func TestDocumentsOvertaken(t *testing.T) {
	runDocuments(t, 1, func(l *library, logged *bytes.Buffer) {
		l.change(func() { l.lost, l.texts[object.DiscoveryPart] = 2, "d2" })
		pass(3 * time.Minute)
		if l.stored.ByPath[object.DiscoveryPart].Revision != "d2" || logged.Len() > 0 {
			t.Errorf("%v, logged %s", l.stored.ByPath, logged)
		}
	})
}
