package lifetime

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// What is requested over adjacent intervals adds up, and does not depend on the order
// in which it was learned.
func TestRequestsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var facts []Request
		for i := range rapid.IntRange(1, 8).Draw(t, "facts") {
			facts = append(facts, Request{sec(float64(10*i + rapid.IntRange(0, 9).Draw(t, "at"))), Amounts{CPU: int64(i), Memory: int64(i) << 58, GPU: int64(i % 2)}})
		}
		l := Life{Created: t0, Scheduled: sec(3), Requests: facts, Deleted: sec(75.5)}
		from, to, now := sec(-10), sec(100), sec(200)
		whole := l.Requested(from, to, now)
		parts := Sums{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
		for begin := from; begin.Before(to); {
			end := begin.Add(time.Duration(rapid.Int64Range(1, int64(30*time.Second)).Draw(t, "part")))
			if end.After(to) {
				end = to
			}
			s := l.Requested(begin, end, now)
			parts.CPU.Add(parts.CPU, s.CPU)
			parts.Memory.Add(parts.Memory, s.Memory)
			parts.GPU.Add(parts.GPU, s.GPU)
			begin = end
		}
		if parts.CPU.Cmp(whole.CPU) != 0 || parts.Memory.Cmp(whole.Memory) != 0 || parts.GPU.Cmp(whole.GPU) != 0 {
			t.Fatalf("%v is not the sum of %v", whole, parts)
		}
		learned := requests{facts[0]}
		for _, fact := range facts[1:] {
			learned = learned.learn(fact.Since, fact.Amounts)
		}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(facts)-1), 0, 8).Draw(t, "again") {
			learned = learned.learn(facts[i].Since, facts[i].Amounts)
		}
		if !slices.EqualFunc(learned, facts, Request.equal) {
			t.Fatalf("%v, want %v", learned, facts)
		}
	})
}

func TestRequested(t *testing.T) {
	f := func(l Life, from, to, now float64, want int64) {
		t.Helper()
		if got := l.Requested(sec(from), sec(to), sec(now)); got.CPU.Int64() != want*1e9 {
			t.Errorf("%v, want %v s", got.CPU, want)
		}
	}
	resized := []Request{{t0, Amounts{CPU: 1}}, {sec(10), Amounts{CPU: 5}}}
	f(Life{Scheduled: t0, CPU: 2}, 0, 10, 20, 20)                                                    // no history: always the same
	f(Life{Scheduled: t0, Requests: resized}, 0, 20, 15, 10+25)                                      // it lives on
	f(Life{Scheduled: t0, Requests: resized, Finished: sec(12), Deleted: sec(50)}, 0, 20, 60, 10+10) // finished, and stays
	f(Life{Scheduled: t0, Requests: resized, Finished: sec(90), Deleted: sec(11)}, 0, 20, 60, 10+5)  // the node's clock is ahead
	f(Life{Requests: resized, Deleted: sec(50)}, 0, 20, 60, 0)                                       // never scheduled
	f(Life{Scheduled: sec(30), Requests: resized}, 0, 20, 60, 0)
	f(Life{Scheduled: t0, Requests: resized, Deleted: sec(5)}, 7, 20, 60, 0)
}

func TestWhatAPodRequests(t *testing.T) {
	f := func(spec, status string, want Amounts) {
		t.Helper()
		body := `{"metadata":{"name":"p","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"nodeName":"n",` + spec + `},"status":{` + status + `}}`
		l, err := decodePod(&Options{}, "one", &object.Record{Body: []byte(body)}, false)
		if err != nil || l.amounts() != want || !l.Scheduled.Equal(l.Created) {
			t.Errorf("%+v %v, want %+v", l, err, want)
		}
	}
	c := `"containers":[{"name":"c","resources":{"requests":{"cpu":"500m","memory":"1Gi","amd.com/gpu":"1","nvidia.com/gpu":"2","ephemeral-storage":"5"}}}]`
	f(c, ``, Amounts{500, 1 << 30, 5, 3})
	shrinks := `"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"700m"}},"allocatedResources":{"cpu":"800m","memory":"512Mi"}}]`
	f(c, shrinks, Amounts{800, 1 << 30, 5, 3})
	f(c, shrinks+`,"conditions":[{"type":"PodResizePending","status":"True","reason":"Deferred"}]`, Amounts{800, 1 << 30, 5, 3})
	f(c, shrinks+`,"conditions":[{"type":"PodResizePending","status":"True","reason":"Infeasible"}]`, Amounts{CPU: 800, Memory: 512 << 20})
	f(c, shrinks+`,"resize":"Infeasible"`, Amounts{CPU: 800, Memory: 512 << 20})
	f(c, `"resize":"Infeasible"`, Amounts{500, 1 << 30, 5, 3}) // nothing is in force yet
	f(c+`,"resources":{"requests":{"cpu":"2"}},"overhead":{"cpu":"0.1"}`, `"resources":{"requests":{"cpu":"3","memory":"9Gi"}}`, Amounts{3100, 1 << 30, 5, 3})
}
