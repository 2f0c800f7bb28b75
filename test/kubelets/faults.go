package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is what is wrong with a kubelet.
type Fault struct {
	Kind string        `json:"kind"`
	For  time.Duration `json:"for,omitempty"` // of slow: how long it takes; of clock: how far it is off
	At   time.Time     `json:"at"`            // when it began
}

// faultKinds are the kinds of faults, and what they do.
func faultKinds() map[string]string {
	return map[string]string{
		"unauthorized": "401 to everything",
		"forbidden":    "403 to everything, as a kubelet without the ClusterRole says it",
		"error":        "500 to everything",
		"hang":         "never answers",
		"slow":         "answers late, by for=DURATION (default 10s)",
		"half":         "breaks off in the middle of the body",
		"truncated":    "ends a whole answer in the middle of the JSON",
		"null":         "every section is null",
		"empty":        "{}",
		"negative":     "counters are negative",
		"falling":      "counters fall from one answer to the next",
		"restart":      "counters and start times begin anew when the fault is set",
		"clock":        "its clock is off by for=DURATION (default 1h)",
		"big":          "10 MB, and right",
		"endless":      "a body that never ends",
		"garbage":      "200 and a page of HTML",
		"gone":         "nothing listens any more",
	}
}

// refuse answers in the fault's way if the fault is none of the body. It says whether
// it did.
func (f Fault) refuse(w http.ResponseWriter, r *http.Request) bool {
	switch f.Kind {
	case "unauthorized":
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case "forbidden":
		subresource := "stats"
		if strings.HasPrefix(r.URL.Path, "/metrics") {
			subresource = "metrics"
		}
		http.Error(w, fmt.Sprintf("Forbidden (user=system:serviceaccount:krm:krm, verb=get, resource=nodes, subresource(s)=[%s])", subresource), http.StatusForbidden)
	case "error":
		http.Error(w, "Internal Error: failed to list pod stats", http.StatusInternalServerError)
	case "hang":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "slow":
		wait := f.For
		if wait == 0 {
			wait = 10 * time.Second
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	case "endless":
		line := bytes.Repeat([]byte(" "), 1<<20)
		for {
			if _, err := w.Write(line); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	default:
		return false
	}
	return true
}

// spoil is the summary with the fault in it. again renders the same at another moment.
func (f Fault) spoil(summary []byte, again func(at time.Time) []byte) []byte {
	switch f.Kind {
	case "truncated":
		return summary[:len(summary)/2]
	case "empty":
		return []byte("{}")
	case "garbage":
		return []byte("<html><body><h1>It works!</h1></body></html>\n\x00\xff\xfe")
	case "big":
		return pad(summary, 10<<20)
	case "null", "negative", "falling", "clock", "restart":
		return f.rewrite(summary, again)
	}
	return summary
}

// pad makes summary size bytes long: with a field that nobody knows, and with spaces.
func pad(summary []byte, size int) []byte {
	filler := max(0, size-len(summary))
	out := make([]byte, 0, size+64)
	out = append(out, `{"padding":"`...)
	out = append(out, bytes.Repeat([]byte("x"), filler/2)...)
	out = append(out, `",`...)
	out = append(out, bytes.Repeat([]byte(" "), filler-filler/2)...)
	return append(out, summary[1:]...)
}

func (f Fault) rewrite(summary []byte, again func(at time.Time) []byte) []byte {
	tree := decode(summary)
	switch f.Kind {
	case "null":
		change(tree, nil, func(string, any, any) (any, bool) { return nil, false }, sections())
	case "negative":
		change(tree, nil, func(_ string, v, _ any) (any, bool) { return -1 - number(v), true }, counters())
	case "falling":
		change(tree, nil, func(_ string, v, _ any) (any, bool) { return 1<<52 - number(v), true }, counters())
	case "clock":
		off := f.For
		if off == 0 {
			off = time.Hour
		}
		change(tree, nil, func(_ string, v, _ any) (any, bool) { return shifted(v, off), true }, []string{"time", "startTime"})
	case "restart":
		change(tree, decode(again(f.At)), func(key string, v, then any) (any, bool) {
			if key == "startTime" {
				return f.At.UTC().Format(time.RFC3339), true
			}
			return max(0, number(v)-number(then)), true
		}, append(counters(), "startTime"))
	}
	text, err := json.Marshal(tree)
	if err != nil {
		panic(fmt.Sprintf("BUG: a fault cannot be written: %v", err))
	}
	return text
}

// sections are the parts of a summary that a kubelet may leave out.
func sections() []string {
	return []string{"cpu", "memory", "network", "fs", "rootfs", "logs", "ephemeral-storage", "volume", "runtime", "rlimit", "io", "swap", "process_stats", "systemContainers"}
}

func decode(text []byte) (tree any) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		panic(fmt.Sprintf("BUG: the summary is no JSON: %v", err))
	}
	return tree
}

func number(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}

func shifted(v any, off time.Duration) any {
	text, _ := v.(string)
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return v
	}
	return when.Add(off).Format(time.RFC3339)
}

// change puts f's answer in the place of every field whose name is in keys; f is told
// what stands in the same place of then, which may be nil. A false result is null.
func change(tree, then any, f func(key string, value, then any) (any, bool), keys []string) {
	switch tree := tree.(type) {
	case map[string]any:
		before, _ := then.(map[string]any)
		for key, value := range tree {
			if !slices.Contains(keys, key) {
				change(value, before[key], f, keys)
				continue
			}
			next, ok := f(key, value, before[key])
			if !ok {
				next = nil
			}
			tree[key] = next
		}
	case []any:
		before, _ := then.([]any)
		for i, value := range tree {
			var other any
			if i < len(before) {
				other = before[i]
			}
			change(value, other, f, keys)
		}
	}
}
