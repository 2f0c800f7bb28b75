package streamer

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// What happens to the server, and what it makes of the log's lineage.
func TestResyncs(t *testing.T) {
	f := func(name string, happen func(w *world), why string, sameLineage, rewrite bool) {
		t.Helper()
		inWorld(t, func(w *world) {
			w.write("a")
			w.write("b")
			w.bump()
			w.follow()
			before := w.redis.now().Resync
			happen(w)
			w.pass(time.Minute)
			after := w.redis.now().Resync
			if same := after.Lineage == before.Lineage; same != sameLineage {
				w.t.Errorf("%s: lineage %q after %q", name, after.Lineage, before.Lineage)
			}
			if after.Rewrite != rewrite {
				w.t.Errorf("%s: rewrite %v", name, after.Rewrite)
			}
			w.redis.ask(object.AskAdvance)
			w.pass(20 * time.Second)
			w.wantTruth()
			w.wantCount("resyncs "+why, 1)
		})
	}
	f("in-stream 410", func(w *world) { w.sever("main", cutExpired) }, "expired", true, false)
	f("410 on resume", func(w *world) {
		w.sever("main", cutSilent)
		w.write("c")
		w.remove("a")
		w.expire()
		w.sever("main", cutBroken)
	}, "expired", true, false)
	f("restored", func(w *world) { w.restore(2) }, "restored", false, false)
	f("other cluster", func(w *world) { w.replace("cluster-2", 1000) }, "cluster-changed", false, false)
	f("other cluster with lower versions", func(w *world) { w.replace("cluster-2", 1) }, "cluster-changed", false, false)
	f("upgrade", func(w *world) {
		w.do(func() { w.schema = "schema-2" })
		w.sever("main", cutClean)
	}, "schema-changed", true, true)
	f("asked", func(w *world) { w.redis.ask(object.AskResync) }, "asked", true, false)
	f("list broken", func(w *world) {
		w.do(func() { w.snag = true })
		w.redis.ask(object.AskResync)
	}, "unfinished", true, false)
	f("gone and back", func(w *world) {
		w.do(func() { w.absent = true })
		w.pass(time.Minute)
		w.wantState(object.StateAbsent, "no such resource")
		w.do(func() { w.absent = false })
	}, "returned", true, false)
}

func TestCrashInAList(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.write("b")
		w.pace = time.Minute
		w.start()
		w.pass(90 * time.Second)
		w.wantLog(0, "begin", "columns", "record 2")
		w.wantState(object.StateSyncing, "first, about 2 objects")
		w.end()
		w.do(func() { w.pace = 0 })
		w.follow()
		w.wantLog(3, "begin", "columns", "record 2", "record 3", "end 3")
		w.wantCount("resyncs unfinished", 1)
		w.wantTruth()
	})
}

// Readers may forget the columns with what was before a complete list.
func TestColumnsComeWithEveryList(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.follow()
		w.redis.ask(object.AskResync)
		w.pass(10 * time.Second)
		w.wantLog(4, "begin", "columns", "record 2", "end 2")
	})
}

func TestExpiredIsReadAnewAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.sever("main", cutExpired)
		w.pass(100 * time.Millisecond)
		w.wantCount("resyncs expired", 1)
		w.wantTruth()
	})
}

func TestReconnects(t *testing.T) {
	f := func(how cut, why string, within time.Duration) {
		t.Helper()
		inWorld(t, func(w *world) {
			w.follow()
			w.sever("main", how)
			if how == cutSilent {
				w.pass(90 * time.Second)
			}
			w.write("a")
			w.pass(within)
			w.wantLog(3, "record 2", "position 2")
			w.wantCount("reconnects "+why, 1)
			w.wantCount("resyncs first", 1)
			w.wantTruth()
		})
	}
	f(cutClean, "closed", 50*time.Millisecond)
	f(cutBroken, "broken", time.Second)
	f(cutGarbled, "garbage", time.Second)
	f(cutSilent, "silent", time.Second)
}

func TestServerTimeoutsAreNormal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.pass(time.Hour)
		if n := w.count("reconnects closed"); n < 7 || n > 9 {
			w.t.Errorf("%d reconnects in an hour of watches of 7 minutes", n)
		}
		for _, report := range w.redis.reports[5:] {
			if report.State != object.StateFollowing {
				w.t.Fatalf("reported %+v", report)
			}
		}
		w.wantTruth()
	})
}

// A resume on a quiet resource is proved by a second watch, within seconds.
func TestProofAfterResume(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.end()
		w.write("a")
		w.bump()
		w.bump()
		w.start()
		w.pass(500 * time.Millisecond)
		w.wantState(object.StateStarting, "not yet proven current")
		w.wantLog(3, "record 2", "position 2")
		w.pass(5 * time.Second)
		w.wantState(object.StateFollowing, "")
		w.wantLog(5, "position 4")
		w.wantCount("proofs equal", 1)
		w.wantCount("resyncs first", 1)
	})
}

func TestNoProofWhereAnEventProves(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.sever("main", cutClean)
		w.pass(100 * time.Millisecond)
		w.write("a")
		w.pass(10 * time.Second)
		if w.opens("proof") != 0 {
			w.t.Error("a second watch was opened")
		}
		w.wantState(object.StateFollowing, "")
	})
}

func TestWithoutBookmarksNothingIsProved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.end()
		w.do(func() { w.bookmarks = false; w.rv++ })
		w.start()
		w.pass(time.Minute)
		w.wantState(object.StateStarting, "without a bookmark")
		if n := w.count("proofs void"); n < 2 || n > 10 {
			w.t.Errorf("%d void proofs in a minute", n)
		}
		w.write("a")
		w.pass(time.Second)
		w.wantTruth()
	})
}

func TestAdvance(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		for range 5 {
			w.bump()
			w.redis.ask(object.AskAdvance)
		}
		w.pass(6 * time.Second)
		w.wantLog(3, "position 6")
		if n := w.opens("proof"); n != 1 {
			w.t.Errorf("%d second watches for asks that came together", n)
		}
	})
}

func TestAdvanceWhileRecordsCome(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.redis.ask(object.AskAdvance)
		for range 100 {
			w.pass(100 * time.Millisecond)
			w.write("a")
			w.bump()
		}
		w.pass(10 * time.Second)
		w.redis.ask(object.AskAdvance)
		w.pass(10 * time.Second)
		w.wantCount("unequal", 0)
		w.wantCount("proofs void", 0)
		w.wantTruth()
	})
}

// A watch that is dead, or that lost an event, is found out when somebody asks.
func TestUnequal(t *testing.T) {
	f := func(name string, happen func(w *world)) {
		inWorld(t, func(w *world) {
			w.follow()
			w.redis.ask(object.AskAdvance)
			w.pass(2 * time.Second) // the second watch is open
			happen(w)
			w.pass(20 * time.Second)
			if w.count("unequal") != 1 || w.count("resyncs unequal") != 1 || w.count("reconnects unequal") != 1 {
				w.t.Errorf("%s: unequal %d, resyncs %d", name, w.count("unequal"), w.count("resyncs unequal"))
			}
			m := new(merged) // a lossy watch makes false claims until it is found out: no audit
			for _, item := range w.redis.all() {
				m.apply(item)
			}
			if diff := cmp.Diff(w.truth(), m.live()); diff != "" {
				w.t.Errorf("%s (-server +log):\n%s", name, diff)
			}
		})
	}
	f("dead", func(w *world) {
		w.sever("main", cutSilent)
		w.write("a")
	})
	f("lossy", func(w *world) {
		w.sever("main", cutLossy)
		w.write("a")
		w.write("b")
	})
}

// A watch that could not be read because Redis was away is not a bad one.
func TestFullBufferIsNotUnequal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.options.BufferRecords, w.options.BatchRecords = 2, 1
		w.follow()
		w.redis.ask(object.AskAdvance)
		w.pass(2 * time.Second)
		w.redis.do(func() { w.redis.away = true })
		for range 10 {
			w.write("a")
		}
		w.pass(time.Minute)
		w.wantCount("unequal", 0)
		w.wantCount("proofs void", 1)
		w.redis.do(func() { w.redis.away = false })
		w.pass(10 * time.Second)
		w.wantTruth()
	})
}

// Etcd was restored though the watch stays open: a reader suspects it.
func TestCheck(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.write("b")
		w.follow()
		w.restore(1)
		w.sever("main", cutNone)
		w.pass(10 * time.Second)
		w.wantCount("resyncs restored", 0)
		w.redis.ask(object.AskCheck)
		w.pass(2 * time.Second)
		w.wantCount("reconnects checked", 1)
		w.wantCount("resyncs restored", 1)
		w.wantTruth()
	})
}

// replacing is a server whose cluster is replaced between the survey and the watch.
type replacing struct {
	*server
	once bool
}

func (r *replacing) Probe(ctx context.Context, resource object.Resource) (object.Version, error) {
	v, err := r.server.Probe(ctx, resource)
	if !r.once {
		r.once = true
		r.replace("cluster-2", 1) // the same versions again
	}
	return v, err
}

func TestReplacedWhileResuming(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.follow()
		w.end()
		ctx, cancel := context.WithCancel(w.t.Context())
		w.stop = cancel
		w.running.Go(func() {
			_ = New("pods", &replacing{server: w.server}, w.redis.open, w.options, w.logger).Run(ctx)
		})
		w.pass(10 * time.Second)
		w.wantCount("resyncs cluster-changed", 1)
		w.redis.ask(object.AskAdvance)
		w.pass(10 * time.Second)
		w.wantTruth()
	})
}

func TestMetrics(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.write("a")
		w.pass(20 * time.Second)
		w.wantCount("events MODIFIED", 1)
		w.wantCount("events INITIAL-END", 1)
		w.wantCount("appends", len(w.redis.entries))
		m := w.options.Metrics
		if got := written(m.positionAt.WithLabelValues("pods")).GetGauge().GetValue(); got != 2 {
			w.t.Errorf("position %v", got)
		}
		delays := written(m.appendDelays.WithLabelValues("pods").(prometheus.Metric)).GetHistogram()
		if delays.GetSampleCount() != 1 || delays.GetSampleSum() != 0.001 {
			w.t.Errorf("delays %v", delays)
		}
		out := make(chan prometheus.Metric, 2)
		m.ages.Collect(out)
		for range 2 {
			if age := written(<-out).GetGauge().GetValue(); age < 19.9 || age > 20.1 {
				w.t.Errorf("age %v, want 20 s", age)
			}
		}
	})
}
