package lifetime

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// thing is what a model keeps of one thing: it sees every state, once and in order.
type thing struct {
	pod                                            bool
	name, uid                                      string
	created, scheduled, started, finished, deleted time.Time
	estimated                                      bool
	node, phase                                    string
	cpu, gi                                        int64     // what it asks for now
	held                                           []Request // what it held since when
	over                                           bool      // it finished without saying when
	at                                             time.Time
}

// body is its state as the API server tells it.
func (x *thing) body() string {
	if !x.pod {
		return claimBody(x.name, x.uid, x.created, x.phase, x.gi)
	}
	status := fmt.Sprintf(`"phase":%q`, x.phase)
	if x.node != "" {
		status += fmt.Sprintf(`,"conditions":[{"type":"PodScheduled","status":"True","lastTransitionTime":%q}]`, x.scheduled.Format(time.RFC3339))
	}
	if !x.started.IsZero() {
		state := fmt.Sprintf(`"running":{"startedAt":%q}`, x.started.Format(time.RFC3339))
		if !x.finished.IsZero() && !x.over {
			state = fmt.Sprintf(`"terminated":{"startedAt":%q,"finishedAt":%q}`, x.started.Format(time.RFC3339), x.finished.Format(time.RFC3339))
		}
		status += fmt.Sprintf(`,"containerStatuses":[{"name":"c","state":{%s}}]`, state)
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns","uid":%q,"creationTimestamp":%q},"spec":{"nodeName":%q,"containers":[{"name":"c","resources":{"requests":{"cpu":"%dm","memory":"%dGi"}}}]},"status":{%s}}`,
		x.name, x.uid, x.created.Format(time.RFC3339), x.node, x.cpu, x.gi, status)
}

// now notes what it holds from at on.
func (x *thing) now(at time.Time) {
	a := Amounts{CPU: x.cpu, Memory: x.gi << 30}
	if !x.pod {
		a = Amounts{}
		if x.phase == "Bound" {
			a.Storage = x.gi << 30
		}
	}
	x.held = append(x.held, Request{at, a})
}

// sums is value × nanoseconds in [from, to), piece by piece.
func (x *thing) sums(from, to time.Time) (all [4]string) {
	end := to
	for _, at := range []time.Time{x.finished, x.deleted} {
		if !at.IsZero() && at.Before(end) {
			end = at
		}
	}
	total := [4]*big.Int{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	cuts := []time.Time{from, end, x.scheduled}
	for _, h := range x.held {
		cuts = append(cuts, h.Since)
	}
	slices.SortFunc(cuts, time.Time.Compare)
	for i := range len(cuts) - 1 {
		a, b := cuts[i], cuts[i+1]
		if x.scheduled.IsZero() || a.Before(from) || a.Before(x.scheduled) || b.After(end) {
			continue
		}
		in := x.held[0].Amounts
		for _, h := range x.held {
			if !h.Since.After(a) {
				in = h.Amounts
			}
		}
		for k, v := range []int64{in.CPU, in.Memory, in.Storage, in.GPU} {
			total[k].Add(total[k], new(big.Int).Mul(big.NewInt(v), big.NewInt(int64(b.Sub(a)))))
		}
	}
	for k, v := range total {
		all[k] = v.String()
	}
	return all
}

// line is what is known of it by to.
func line(name, uid string, times []time.Time, estimated bool, to time.Time, sums [4]string) string {
	text := name + "/" + uid
	for i, at := range times {
		if at.IsZero() || i > 0 && !at.Before(to) {
			text += " -"
		} else {
			text += " " + at.Format("02T15:04:05.000")
		}
	}
	if last := times[len(times)-1]; estimated && last.Before(to) {
		text += " estimated"
	}
	return fmt.Sprint(text, sums)
}

func (x *thing) line(from, to time.Time) string {
	return line(x.name, x.uid, []time.Time{x.created, x.scheduled, x.started, x.finished, x.deleted}, x.estimated, to, x.sums(from, to))
}

func (l *Life) line(name, uid string, from, to, now time.Time) string {
	s := l.Requested(from, to, now)
	return line(name, uid, []time.Time{l.Created, l.Scheduled, l.Started, l.Finished, l.Deleted}, l.Estimated, to,
		[4]string{s.CPU.String(), s.Memory.String(), s.Storage.String(), s.GPU.String()})
}
