package field

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theory/jsonpath"
)

// podOf5KB is about what a pod of a Deployment with two containers takes.
func podOf5KB(i int) []byte {
	env := make([]string, 36)
	for n := range env {
		env[n] = fmt.Sprintf(`{"name":"SETTING_%02d","value":"value-%d-of-the-setting"}`, n, n)
	}
	container := `{"name":"%s","image":"registry.example.com/team/%[1]s:%[2]d","env":[` + strings.Join(env, ",") +
		`],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"%[2]dm","memory":"128Mi"}},"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}`
	return fmt.Appendf(nil, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-%d","namespace":"ns-%d","uid":"00000000-0000-0000-0000-%012d","resourceVersion":"%d","creationTimestamp":"2026-01-%02dT00:00:00Z","labels":{"app":"web","app.kubernetes.io/name":"web-%d"}},`+
		`"spec":{"containers":[%s,%s],"restartPolicy":"Always","nodeName":"node-%d","schedulerName":"default-scheduler"},`+
		`"status":{"phase":"%s","conditions":[{"type":"Initialized","status":"True"},{"type":"Ready","status":"%s"}],"podIP":"10.0.%d.%d","startTime":"2026-01-02T03:04:%02dZ"}}`,
		i, i%100, i, i, i%28+1, i%10, fmt.Sprintf(container, "web", i%50), fmt.Sprintf(container, "proxy", i%7), i%50,
		[]string{"Running", "Pending", "Failed"}[i%3], []string{"True", "False"}[i%2], i/250, i%250, i%60)
}

func manyPods(b *testing.B) []Object {
	b.Helper()
	objects := make([]Object, 10_000)
	for i := range objects {
		objects[i] = Object{Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("web-", i), Node: fmt.Sprint("node-", i%50), Body: podOf5KB(i)}
	}
	return objects
}

// perPod returns what reports the time and this process's processor time for each of
// n pods: on a busy machine only the latter says something.
func perPod(b *testing.B, n int) func() {
	before := processorTime(b)
	return func() {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pod")
		b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N*n), "cpu-ns/pod")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkMatches(b *testing.B) {
	objects := manyPods(b)
	for _, text := range []string{"metadata.name=web-1", "metadata.namespace=ns-7", "spec.nodeName=node-1", "spec.hostNetwork=false", "status.phase=Running", "status.podIP=10.0.1.1"} {
		b.Run(text, func(b *testing.B) {
			s := selector(b, text, pods)
			b.ReportAllocs()
			defer perPod(b, len(objects))()
			for b.Loop() {
				for i := range objects {
					s.Matches(&objects[i])
				}
			}
		})
	}
}

func BenchmarkPathSelector(b *testing.B) {
	objects := manyPods(b)
	for _, text := range []string{".status.phase=Running", "spec.containers[*].image=registry.example.com/team/web:7", `status.conditions[?(@.type=="Ready")].status=True`, "..cpu=7m", "metadata.labels['app.kubernetes.io/name']=web-3"} {
		b.Run(text, func(b *testing.B) {
			s, err := ParseSelector(text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			defer perPod(b, len(objects))()
			for b.Loop() {
				for i := range objects {
					s.Matches(objects[i].Body)
				}
			}
		})
	}
	b.Run("by decoding", func(b *testing.B) {
		path := jsonpath.MustParse(`$.status.conditions[?@.type=="Ready"].status`)
		defer perPod(b, 1000)()
		for b.Loop() {
			for i := range objects[:1000] {
				var decoded any
				if err := json.Unmarshal(objects[i].Body, &decoded); err != nil {
					b.Fatal(err)
				}
				path.Select(decoded)
			}
		}
	})
}

// BenchmarkDearest asks what costs most of what is accepted.
func BenchmarkDearest(b *testing.B) {
	objects := manyPods(b)[:100]
	for name, text := range map[string]string{
		"filters": "..[?" + strings.TrimSuffix(strings.Repeat("@.a||", maxQueries), "||") + "]",
		"nested":  "..[?" + strings.TrimSuffix(strings.Repeat("@[?@[?@[?@.a]]]||", 4), "||") + "]",
		"regexps": "..[?" + strings.TrimSuffix(strings.Repeat("search(@,'(x+x+)+y')||", maxQueries), "||") + "]",
		"unions":  ".." + strings.Repeat("[*,*,*,*,*,*,*,*,*,*,*,*,*,*,*,*]", 20) + ".x",
		"wilds":   "..*" + strings.Repeat(".*", 60),
		"four":    strings.TrimSuffix(strings.Repeat("..[?@.a||@.b||@.c||@.d],", maxDescents), ","),
		"reader":  strings.TrimSuffix(strings.Repeat("a.b=1,", 32), ","),
	} {
		b.Run(name, func(b *testing.B) {
			s, err := ParseSelector(text)
			if err != nil {
				b.Fatal(err)
			}
			defer perPod(b, len(objects))()
			for b.Loop() {
				for i := range objects {
					s.Matches(objects[i].Body)
				}
			}
		})
	}
}

func BenchmarkOrder(b *testing.B) {
	objects := manyPods(b)
	for _, text := range []string{"metadata.name", "-metadata.creationTimestamp,metadata.name", "spec.containers[0].resources.requests.cpu"} {
		b.Run(text, func(b *testing.B) {
			order, err := ParseOrder(text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			defer perPod(b, len(objects))()
			for b.Loop() {
				order.Sort(len(objects), func(i int) []byte { return objects[i].Body })
			}
		})
	}
}

func BenchmarkProjection(b *testing.B) {
	objects := manyPods(b)
	p, err := ParseProjection("status.phase,spec.containers[*].image")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	defer perPod(b, len(objects))()
	dst := make([]byte, 0, 8192)
	for b.Loop() {
		for i := range objects {
			dst = p.Append(dst[:0], objects[i].Body)
		}
	}
}

// The fields that every selector uses cost no allocation.
func TestMatchesDoesNotAllocate(t *testing.T) {
	o := Object{Namespace: "ns-1", Name: "web-1", Node: "node-1", Body: podOf5KB(1)}
	if len(o.Body) < 4500 || len(o.Body) > 6000 || !json.Valid(o.Body) {
		t.Fatalf("a pod of %d bytes", len(o.Body))
	}
	for _, text := range []string{"metadata.name=web-1", "spec.nodeName=node-1", "status.phase=Running,spec.hostNetwork!=true,status.podIP!=x"} {
		s := selector(t, text, pods)
		if n := testing.AllocsPerRun(100, func() { s.Matches(&o) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
	s, err := ParseSelector(".status.phase=Pending,spec.weight!=1")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.Matches(o.Body) }); n != 0 {
		t.Errorf("%v: %v allocations", s.String(), n)
	}
}
