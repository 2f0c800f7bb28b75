package kubeapi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// clock rewrites the cells that tell how long ago something was: the API server made
// them when KRM saw the object. Where it is known which field a cell tells of, the
// time comes from there; else what has gone by since then is added.
type clock struct {
	now    time.Time
	spans  map[int]since // by column
	ago    since         // of "(5m ago)" within a cell
	memory []json.RawMessage
}

// since returns the moment from which a cell counts, false if it does not count on,
// and the zero time if it is unknown and the cell itself has to tell.
type since func(o *mirror.Object) (at time.Time, counts bool)

func newClock(r object.Resource, columns []object.Column) *clock {
	c := &clock{spans: map[int]since{}}
	known := spansOf(r)
	c.ago = known["(ago)"]
	for i, column := range columns {
		switch {
		case column.Name == "Age":
			c.spans[i] = func(o *mirror.Object) (time.Time, bool) {
				return timeAt(alias(o.Metadata()), "creationTimestamp"), true
			}
		case known[column.Name] != nil:
			c.spans[i] = known[column.Name]
		case column.Type == "date":
			c.spans[i] = func(*mirror.Object) (time.Time, bool) { return time.Time{}, true }
		}
	}
	return c
}

// spansOf are the columns of built-in kinds, beside Age, that count from a field; see
// kube-apiserver's pkg/printers/internalversion/printers.go.
func spansOf(r object.Resource) map[string]since {
	first := func(paths ...string) since {
		return func(o *mirror.Object) (time.Time, bool) {
			for _, path := range paths {
				if at := timeAt(alias(o.Body), path); !at.IsZero() {
					return at, true
				}
			}
			return time.Time{}, true
		}
	}
	switch r.String() {
	case "events", "events.events.k8s.io":
		return map[string]since{
			"Last Seen": first("series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp",
				"firstTimestamp", "deprecatedFirstTimestamp", "eventTime"),
			"First Seen": first("firstTimestamp", "deprecatedFirstTimestamp", "eventTime"),
		}
	case "cronjobs.batch":
		return map[string]since{"Last Schedule": first("status.lastScheduleTime")}
	case "jobs.batch":
		return map[string]since{"Duration": func(o *mirror.Object) (time.Time, bool) {
			running := !gjson.Get(alias(o.Body), "status.completionTime").Exists()
			return timeAt(alias(o.Body), "status.startTime"), running
		}}
	case "pods":
		return map[string]since{"(ago)": lastRestart}
	}
	return nil
}

// lastRestart is when a container of the pod ended last.
func lastRestart(o *mirror.Object) (last time.Time, counts bool) {
	const ends = "status.[containerStatuses.#.lastState.terminated.finishedAt,initContainerStatuses.#.lastState.terminated.finishedAt]|@flatten"
	for _, end := range gjson.Get(alias(o.Body), ends).Array() {
		if at, err := time.Parse(time.RFC3339, end.Str); err == nil && at.After(last) {
			last = at
		}
	}
	return last, true
}

// timeAt returns the time at the path, zero if there is none.
func timeAt(text, path string) time.Time {
	at, err := time.Parse(time.RFC3339, gjson.Get(text, path).Str)
	if err != nil {
		return time.Time{}
	}
	return at
}

// cells returns the row's cells with the times of now. An object without stored
// cells gets its name and nothing else.
func (c *clock) cells(o *mirror.Object) (json.RawMessage, error) {
	if len(o.Cells) == 0 {
		return json.Marshal([]string{o.Key.Name})
	}
	ago := bytes.Contains(o.Cells, []byte(" ago)"))
	if len(c.spans) == 0 && !ago {
		return o.Cells, nil
	}
	c.memory = c.memory[:0]
	if err := json.Unmarshal(o.Cells, &c.memory); err != nil {
		return nil, err
	}
	for i := range c.memory {
		if count := c.spans[i]; count != nil {
			c.memory[i] = c.rewrite(c.memory[i], o, count)
		}
		if ago {
			c.memory[i] = agoSpan.ReplaceAllFunc(c.memory[i], func(span []byte) []byte {
				text := strings.TrimSuffix(string(span[1:]), " ago)")
				return []byte("(" + c.later(text, o, c.ago) + " ago)")
			})
		}
	}
	return json.Marshal(c.memory)
}

// rewrite returns the cell as of now, if it tells a span of time.
func (c *clock) rewrite(cell json.RawMessage, o *mirror.Object, count since) json.RawMessage {
	text, err := strconv.Unquote(string(cell))
	if err != nil { // null: there is nothing to tell
		return cell
	}
	return json.RawMessage(strconv.Quote(c.later(text, o, count)))
}

func (c *clock) later(span string, o *mirror.Object, count since) string {
	if !isSpan.MatchString(span) {
		return span
	}
	if count != nil {
		switch at, counts := count(o); {
		case !counts:
			return span
		case !at.IsZero():
			return duration.HumanDuration(c.now.Sub(at))
		}
	}
	return later(span, c.now.Sub(o.SeenAt))
}

var (
	isSpan   = regexp.MustCompile(`^(?:\d+[ydhms])+$`)
	agoSpan  = regexp.MustCompile(`\((?:\d+[ydhms])+ ago\)`)
	spanUnit = regexp.MustCompile(`(\d+)([ydhms])`)
	units    = map[string]time.Duration{
		"y": 365 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second,
	}
)

// later returns a span as kubectl writes it, such as "5m" or "2d3h", when elapsed
// more has gone by. What is no such span stays as it is. The span was rounded down
// when it was written, so the result may lag by its last unit.
func later(span string, elapsed time.Duration) string {
	var total time.Duration
	rest := spanUnit.ReplaceAllStringFunc(span, func(part string) string {
		n, err := strconv.Atoi(part[:len(part)-1])
		if err != nil {
			return part
		}
		total += time.Duration(n) * units[part[len(part)-1:]]
		return ""
	})
	if rest != "" || span == "" {
		return span
	}
	return duration.HumanDuration(total + max(0, elapsed))
}
