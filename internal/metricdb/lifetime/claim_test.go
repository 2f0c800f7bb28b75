package lifetime

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// claims are all claims of the first week as text: seconds after t0, and what they held × seconds in [0, 100).
func (s *story) claims() (all []string) {
	s.t.Helper()
	claims, err := Claims(s.t.Context(), s.db, t0, t0.Add(7*day))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range claims {
		line := c.Tags.Get(TagClaim) + "/" + c.UID()
		for _, at := range []time.Time{c.Created, c.Bound, c.Deleted} {
			if at.IsZero() {
				line += " -"
			} else {
				line += fmt.Sprintf(" %v", at.Sub(t0).Seconds())
			}
		}
		if c.Estimated {
			line += " estimated"
		}
		gib := c.Requested(t0, sec(100), sec(1000))
		gib.Rsh(gib, 30)
		all = append(all, fmt.Sprintf("%s %dGi %d %v", line, c.Storage>>30, gib.Int64()/1e9, c.Held(t0, sec(100), sec(1000)).Seconds()))
	}
	return all
}

func TestClaims(t *testing.T) {
	s := newStory(t)
	s.l = NewClaimFollower(s.db, s.feed, "one", Options{Now: func() time.Time { return s.now }}, quiet())
	f := s.feed
	tell := func(what object.EventType, at float64, name, phase string, gi int64) {
		f.tell(what, sec(at), name, "u-"+name, claimBody(name, "u-"+name, sec(0), phase, gi))
	}
	tell(object.Added, 1, "old", "Bound", 1) // it was there before
	tell(object.Added, 1.5, "wait", "Pending", 5)
	tell(object.Added, 2, "new", "Pending", 5)
	tell(object.Modified, 10, "new", "Bound", 5)
	tell(object.Modified, 20, "new", "Bound", 7) // expanded: its capacity comes later
	tell(object.Modified, 30, "new", "Lost", 7)
	s.step()
	tell(object.Modified, 40, "new", "Bound", 7)
	f.tell(object.Deleted, sec(50), "new", "u-new", "")
	s.step()
	equal(t, s.claims(),
		"new/u-new 0 10 50 estimated 7Gi 190 40",
		"old/u-old 0 0 - 1Gi 100 100",
		"wait/u-wait 0 - - 0Gi 0 0",
	)
	claims, _ := Claims(t.Context(), s.db, t0, t0.Add(day))
	if tags := claims[0].Tags; tags.Get("cluster_name") != "one" || tags.Get("namespace_name") != "ns" || tags.Get("labels") != "app:db" {
		t.Errorf("%v", tags)
	}
	if pods, err := Pods(t.Context(), s.db, t0, t0.Add(day)); err != nil || len(pods) > 0 {
		t.Errorf("claims are no pods: %v %v", pods, err)
	}
}

// An expansion that was taken back counts as the quota counts it.
func TestWhatAClaimHolds(t *testing.T) {
	f := func(requested, allocated, phase string, want int64) {
		t.Helper()
		body := fmt.Sprintf(`{"metadata":{"name":"c","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"resources":{"requests":{"storage":%q}}},`+
			`"status":{"phase":%q,"capacity":{"storage":"50Gi"},"allocatedResources":{"storage":%q}}}`, requested, phase, allocated)
		l, err := decodeClaim(&Options{}, "one", &object.Record{Body: []byte(body)}, false)
		if err != nil || l.Storage != want {
			t.Errorf("%+v %v, want %d", l, err, want)
		}
	}
	f("10Gi", "", "Bound", 10<<30)
	f("10Gi", "10Gi", "Bound", 10<<30)
	f("10Gi", "20Gi", "Bound", 20<<30)
	f("30Gi", "20Gi", "Bound", 30<<30)
	f("500M", "", "Bound", 500e6)
	f("10Gi", "10Gi", "Pending", 0)
	f("10Gi", "10Gi", "Lost", 0)
}

// Nobody may watch claims: that is said once, and is no fault.
func TestNobodyWatches(t *testing.T) {
	s := newStory(t)
	s.feed.absent = true
	var log strings.Builder
	meter := NewMetrics(nil)
	s.l = NewClaimFollower(s.db, s.feed, "one", Options{Metrics: meter}, slog.New(slog.NewTextHandler(&log, nil)))
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if err := s.l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if n := testutil.ToFloat64(meter.failures.WithLabelValues("persistentvolumeclaims")); n != 0 || strings.Count(log.String(), "\n") != 1 || s.db.Writes != 0 {
		t.Errorf("%v failures, %v records, log:\n%s", n, s.db.Writes, log.String())
	}
	s.feed.absent = false
	s.feed.tell(object.Added, sec(1), "c", "u", claimBody("c", "u", sec(0), "Bound", 1))
	s.step()
	equal(t, s.claims(), "c/u 0 0 - 1Gi 100 100")
}
