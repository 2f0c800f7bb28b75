package kubeapi

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestClock(t *testing.T) {
	seen := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	now := seen.Add(10 * time.Minute)
	f := func(r object.Resource, columns []string, cells, body, want string) {
		t.Helper()
		var defined []object.Column
		for _, name := range columns {
			kind := "string"
			if name == "Made" {
				kind = "date"
			}
			defined = append(defined, object.Column{Name: name, Type: kind})
		}
		empty := &mirror.Object{Key: object.Key{Name: "x"}, SeenAt: seen, Cells: []byte(cells)}
		o, err := empty.Restated("1", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		c := newClock(r, defined)
		c.now = now
		got, err := c.cells(o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", r, diff)
		}
	}
	const created = `{"metadata":{"creationTimestamp":"2026-11-21T11:00:00Z"}`
	f(pods, []string{"Name", "Restarts", "Age"}, `["x","3 (5m ago)","60m"]`,
		created+`,"status":{"containerStatuses":[{"lastState":{"terminated":{"finishedAt":"2026-11-21T11:54:30Z"}}},{"lastState":{}}]}}`,
		`["x","3 (15m ago)","70m"]`)
	f(pods, []string{"Name", "Restarts", "Age"}, `["x","3 (5m ago)","60m"]`, created+`}`, `["x","3 (15m ago)","70m"]`)
	events := object.Resource{Version: "v1", Name: "events"}
	f(events, []string{"Last Seen", "First Seen"}, `["10m","<unknown>"]`, created+`,"lastTimestamp":"2026-11-21T11:49:10Z"}`, `["20m","\u003cunknown\u003e"]`)
	f(events, []string{"Last Seen"}, `["1s"]`, created+`,"lastTimestamp":null,"eventTime":"2026-11-21T12:09:00.123456Z"}`, `["59s"]`)
	jobs := object.Resource{Group: "batch", Version: "v1", Name: "jobs"}
	f(jobs, []string{"Duration"}, `["5s"]`, created+`,"status":{"startTime":"2026-11-21T11:59:55Z"}}`, `["10m"]`)
	f(jobs, []string{"Duration"}, `["5s"]`, created+`,"status":{"startTime":"2026-11-21T11:00:00Z","completionTime":"2026-11-21T11:00:05Z"}}`, `["5s"]`)
	f(widgets, []string{"Made", "Color", "Age"}, `[null,"5m","60m"]`, created+`}`, `[null,"5m","70m"]`)
	f(widgets, []string{"Made"}, `["90s"]`, created+`}`, `["11m"]`)
	f(widgets, []string{"Color"}, `["5m"]`, created+`}`, `["5m"]`)
}
