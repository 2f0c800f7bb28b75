package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// check says what is wrong with an answer.
type check func(*answer) error

// all wants everything of an answer.
func all(checks ...check) check {
	return func(a *answer) error {
		for _, c := range checks {
			if err := c(a); err != nil {
				return err
			}
		}
		return nil
	}
}

func status(want int) check {
	return func(a *answer) error {
		if a.status != want {
			return fmt.Errorf("status %d, want %d: %.200s", a.status, want, a.body)
		}
		return nil
	}
}

// text wants a status and a bare text, exactly.
func text(code int, want string) check {
	return all(status(code), func(a *answer) error {
		if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
			return fmt.Errorf("Content-Type %s, want text/plain", kind)
		}
		if string(a.body) != want {
			return fmt.Errorf("%q, want %q", a.body, want)
		}
		return nil
	})
}

// says wants a status and words in the body.
func says(code int, words ...string) check {
	return all(status(code), func(a *answer) error {
		for _, word := range words {
			if !strings.Contains(string(a.body), word) {
				return fmt.Errorf("%.300s, want %q in it", a.body, word)
			}
		}
		return nil
	})
}

func isJSON(a *answer) error {
	if kind := a.header.Get("Content-Type"); kind != "application/json" {
		return fmt.Errorf("Content-Type %q, want application/json", kind)
	}
	if !json.Valid(a.body) {
		return fmt.Errorf("no JSON: %.200s", a.body)
	}
	return nil
}

// list wants 200 and a sorted list of strings that has names in it, and passes on
// what f finds wrong with it.
func list(f func([]string) error) check {
	return all(status(http.StatusOK), isJSON, func(a *answer) error {
		var names []string
		if err := json.Unmarshal(a.body, &names); err != nil {
			return fmt.Errorf("no list of strings: %w", err)
		}
		if names == nil || !slices.IsSorted(names) {
			return fmt.Errorf("null, or not sorted: %.200s", a.body)
		}
		return f(names)
	})
}

// exactly wants a list of these and no others; has wants these among others.
func exactly(want ...string) check {
	return list(func(names []string) error {
		if !slices.Equal(names, want) {
			return fmt.Errorf("%q, want %q", names, want)
		}
		return nil
	})
}

func has(want ...string) check {
	return list(func(names []string) error {
		for _, name := range want {
			if !slices.Contains(names, name) {
				return fmt.Errorf("%q, want %q among them", names, name)
			}
		}
		return nil
	})
}

// points wants 200 and a good series of at least so many points; 0 wants none at all.
func points(least int) check {
	return all(status(http.StatusOK), isJSON, func(a *answer) error {
		var s series
		if err := json.Unmarshal(a.body, &s); err != nil {
			return err
		}
		return enough(s, least)
	})
}

func enough(s series, least int) error {
	if err := s.check(); err != nil {
		return err
	}
	if least == 0 && len(s.Metrics) > 0 || len(s.Metrics) < least {
		return fmt.Errorf("%d points, want %d", len(s.Metrics), least)
	}
	if least > 0 && time.Since(s.LatestTimestamp) > 6*resolution {
		return fmt.Errorf("the latest point is of %v", s.LatestTimestamp)
	}
	return nil
}

// eachSeries wants a list of series with at least so many points each; 0 wants none.
func eachSeries(least ...int) check {
	return all(status(http.StatusOK), isJSON, func(a *answer) error {
		var got struct{ Items []series }
		if err := json.Unmarshal(a.body, &got); err != nil {
			return err
		}
		if len(got.Items) != len(least) {
			return fmt.Errorf("%d series, want %d", len(got.Items), len(least))
		}
		for i, s := range got.Items {
			if err := enough(s, least[i]); err != nil {
				return fmt.Errorf("series %d: %w", i, err)
			}
		}
		return nil
	})
}

// header wants a header with these words in it.
func header(name, words string) check {
	return func(a *answer) error {
		if got := a.header.Get(name); got == "" || !strings.Contains(got, words) {
			return fmt.Errorf("header %s: %q, want %q in it", name, got, words)
		}
		return nil
	}
}

// packed wants the body encoded so, and passes on what c finds in it.
func packed(encoding string, c check) check {
	return func(a *answer) error {
		if got := a.header.Get("Content-Encoding"); got != encoding {
			return fmt.Errorf("Content-Encoding %q, want %q", got, encoding)
		}
		var plain io.Reader
		var err error
		if encoding == "gzip" {
			plain, err = gzip.NewReader(bytes.NewReader(a.body))
		} else {
			plain, err = zlib.NewReader(bytes.NewReader(a.body))
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(plain)
		if err != nil {
			return err
		}
		return c(&answer{a.status, a.header, body})
	}
}

// reads wants 200 and JSON, which f judges.
func reads[T any](f func(T) error) check {
	return all(status(http.StatusOK), isJSON, func(a *answer) error {
		var got T
		if err := json.Unmarshal(a.body, &got); err != nil {
			return err
		}
		return f(got)
	})
}

// exported is an element of the export.
type exported struct {
	Metrics map[string][]struct {
		Start, End time.Time
		Labels     map[string]string
		Value      *float64
	}
	Labels map[string]string
}

// export wants all of the recorded cluster's sets, or of ours, as the export has them.
func export(sets []exported) error {
	kinds := map[string]int{}
	for _, set := range sets {
		name := set.Labels["container_name"]
		switch {
		case name == "machine" || name == "/pod":
			kinds[name]++
		case set.Labels["pod_name"] != "":
			kinds["container"]++
		case name == "docker-daemon" || name == "kubelet" || name == "system" || name == "pods":
			kinds["system"]++
		default:
			return fmt.Errorf("a set with labels %v", set.Labels)
		}
		for _, label := range []string{"namespace_name", "type"} {
			if _, there := set.Labels[label]; there {
				return fmt.Errorf("label %s is exported", label)
			}
		}
		for name, values := range set.Metrics {
			for _, v := range values {
				if v.Value == nil || v.End.IsZero() || v.Start.After(v.End) {
					return fmt.Errorf("%s of %v: %+v", name, set.Labels, v)
				}
			}
		}
	}
	for _, kind := range []string{"machine", "/pod", "container", "system"} {
		if kinds[kind] == 0 {
			return fmt.Errorf("nothing of kind %s: %v", kind, kinds)
		}
	}
	return nil
}

// exportOfWeb0 wants what the export must say of the recorded pod web-0 and its node.
func exportOfWeb0(sets []exported) error {
	if err := export(sets); err != nil {
		return err
	}
	found := 0
	for _, set := range sets {
		labels := set.Labels
		switch {
		case labels["container_name"] == "/pod" && labels["pod_name"] == "web-0":
			if labels["pod_id"] != "uid-web-0" || labels["namespace_id"] != "nsuid-default" || labels["nodename"] != "node-a" ||
				labels["hostname"] != "host-a" || labels["labels"] != "app:web,tier:front" {
				return fmt.Errorf("pod web-0 has the labels %v", labels)
			}
			used := set.Metrics["memory/usage"]
			if len(used) != 1 || *used[0].Value != 58000000 || !used[0].Start.Equal(used[0].End) {
				return fmt.Errorf("pod web-0's memory/usage: %+v", used)
			}
			cpu := set.Metrics["cpu/usage"]
			if len(cpu) != 1 || cpu[0].End.Sub(cpu[0].Start) < 30*time.Minute {
				return fmt.Errorf("pod web-0's cpu/usage does not start with the pod: %+v", cpu)
			}
			found++
		case labels["pod_name"] == "web-0" && labels["container_name"] == "app":
			if labels["container_base_image"] != "nginx:1" || len(set.Metrics["filesystem/usage"]) != 2 || set.Metrics["cpu/limit"] == nil {
				return fmt.Errorf("container app: %v, %v", labels, set.Metrics)
			}
			found++
		case labels["container_name"] == "machine" && labels["nodename"] == "node-a":
			if set.Metrics["cpu/usage_rate"] != nil || set.Metrics["cpu/request"] != nil {
				return errors.New("the export has computed metrics")
			}
			found++
		}
	}
	if found != 3 {
		return fmt.Errorf("%d of pod web-0, its container app and its node", found)
	}
	return nil
}
