package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// strict reads what a kubelet said as today's types, and takes no field that they lack.
func strict(t *testing.T, text []byte) (s stats.Summary) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return s
}

func small() fleet {
	return fleet{nodes: 3, pods: 5, containers: 2, seed: 1, booted: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
}

func TestCountersOnlyGrow(t *testing.T) {
	for draw := range int64(50) {
		s := source(draw).child(7)
		for second, before := int64(0), 0.0; second < 2000; second++ {
			now := s.counter(3, second)
			if now < before {
				t.Fatalf("source %d fell from %v to %v at second %d", draw, before, now, second)
			}
			before = now
		}
		if mean := s.counter(3, 100_000) / 100_000; mean < 2.9 || mean > 3.1 {
			t.Errorf("source %d counted %v a second, not 3", draw, mean)
		}
	}
}

func TestSummaryIsAKubelets(t *testing.T) {
	f := small()
	node := f.build()[1]
	now := f.booted.Add(2 * time.Hour)
	for _, shape := range []Shape{Compact, Full} {
		s := strict(t, node.summary(clock{now, 10}, shape))
		if s.Node.NodeName != "node-0001" || len(s.Pods) != 5 || len(s.Node.SystemContainers) != 3 {
			t.Fatalf("%s has %d pods and %d system containers", s.Node.NodeName, len(s.Pods), len(s.Node.SystemContainers))
		}
		for _, pod := range s.Pods {
			if pod.Network == nil || pod.CPU == nil || pod.EphemeralStorage == nil || len(pod.VolumeStats) != 1 || len(pod.Containers) != 2 {
				t.Errorf("pod %s lacks something", pod.PodRef.Name)
			}
			for _, c := range pod.Containers {
				age := now.Sub(c.CPU.Time.Time)
				if age < 0 || age >= 10*time.Second || *c.CPU.UsageCoreNanoSeconds == 0 || *c.Memory.UsageBytes%page != 0 || *c.Memory.WorkingSetBytes >= *c.Memory.UsageBytes {
					t.Errorf("container %s of %s was read %v ago: %+v %+v", c.Name, pod.PodRef.Name, age, c.CPU, c.Memory)
				}
			}
		}
		if (s.Node.CPU.PSI != nil) != (shape == Full) {
			t.Errorf("shape %v has pressure: %v", shape, s.Node.CPU.PSI != nil)
		}
	}
}

func TestSummaryIsTheSameForTheSameMoment(t *testing.T) {
	at := clock{small().booted.Add(time.Hour), 10}
	if diff := cmp.Diff(small().build()[0].summary(at, Compact), small().build()[0].summary(at, Compact)); diff != "" {
		t.Error(diff)
	}
	other := small()
	other.seed = 2
	if bytes.Equal(small().build()[0].summary(at, Compact), other.build()[0].summary(at, Compact)) {
		t.Error("another seed says the same")
	}
}

// TestANodesCountersSurviveItsPods: what pods counted that are gone stays counted.
func TestANodesCountersSurviveItsPods(t *testing.T) {
	f := small()
	f.booted = time.Now().Add(-time.Hour)
	node := f.build()[0]
	before := strict(t, node.summary(clock{time.Now(), 1}, Compact))
	node.Put(node.load.Load().Pods[1:])
	after := strict(t, node.summary(clock{time.Now().Add(time.Second), 1}, Compact))
	if *after.Node.CPU.UsageCoreNanoSeconds < *before.Node.CPU.UsageCoreNanoSeconds {
		t.Errorf("the node's CPU time fell from %d to %d", *before.Node.CPU.UsageCoreNanoSeconds, *after.Node.CPU.UsageCoreNanoSeconds)
	}
	if *after.Node.Memory.UsageBytes >= *before.Node.Memory.UsageBytes {
		t.Error("the memory of a pod that is gone is still used")
	}
}

func TestTextsSayWhatTheSummarySays(t *testing.T) {
	f := small()
	node, at := f.build()[0], clock{f.booted.Add(time.Hour), 10}
	pod := node.load.Load().Pods[0]
	want := pod.Containers[0].read(at)
	for text, line := range map[string]string{
		string(node.resource(at)): fmt.Sprintf("container_memory_working_set_bytes{container=\"main\",namespace=%q,pod=%q} ", pod.Namespace, pod.Name),
		string(node.cadvisor(at)): fmt.Sprintf("container_fs_writes_bytes_total{container=\"main\",device=\"/dev/vda\",id=\"/kubepods/burstable/pod%s/", pod.UID),
	} {
		_, rest, found := strings.Cut(text, "\n"+line)
		if !found {
			t.Fatalf("there is no %s in\n%.2000s", line, text)
		}
		rest, _, _ = strings.Cut(rest, "\n")
		value := float64(want.working)
		if strings.Contains(line, "writes") {
			value = float64(want.written)
		}
		if !strings.Contains(" "+rest, fmt.Sprintf(" %v %d000", value, want.at)) {
			t.Errorf("%s%s, want %v at %d", line, rest, value, want.at)
		}
	}
}

func TestObjectsAreThoseOfTheSummaries(t *testing.T) {
	f, dir := small(), t.TempDir()
	if err := f.writeObjects(dir, []int{1001, 1002, 1003}); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, line := range lines(t, filepath.Join(dir, "pods.ndjson")) {
		var pod corev1.Pod
		if err := json.Unmarshal([]byte(line), &pod); err != nil {
			t.Fatal(err)
		}
		if len(pod.Spec.Containers) != 2 || pod.Status.Phase != corev1.PodRunning {
			t.Errorf("pod %s: %+v", pod.Name, pod)
		}
		known[string(pod.UID)] = pod.Spec.NodeName + " " + pod.Namespace + "/" + pod.Name
	}
	if len(known) != 15 {
		t.Fatalf("%d pods", len(known))
	}
	for _, node := range f.build() {
		for _, pod := range strict(t, node.summary(clock{f.booted.Add(time.Hour), 10}, Compact)).Pods {
			if got := node.Name + " " + pod.PodRef.Namespace + "/" + pod.PodRef.Name; known[pod.PodRef.UID] != got {
				t.Errorf("%s is %q in the objects, %q in the summary", pod.PodRef.UID, known[pod.PodRef.UID], got)
			}
		}
	}
	for i, line := range lines(t, filepath.Join(dir, "nodes.ndjson")) {
		var node corev1.Node
		if err := json.Unmarshal([]byte(line), &node); err != nil || int(node.Status.DaemonEndpoints.KubeletEndpoint.Port) != 1001+i {
			t.Errorf("node %d: %v %+v", i, err, node.Status.DaemonEndpoints)
		}
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestFixturesAdvance(t *testing.T) {
	f, err := openFixtures("testdata/fixtures", time.Unix(1_000_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := strict(t, f.summaries["node-x"].summary(clock{time.Unix(1_000_000_000, 0), 1}, Compact))
	if got := *s.Node.CPU.UsageCoreNanoSeconds; got != 3600*1500000000 {
		t.Errorf("cpu %d", got)
	}
	if *s.Node.Memory.UsageBytes != 3000 || *s.Node.Network.RxErrors != 3 {
		t.Errorf("what is no counter, or stands still, changed: %+v %+v", s.Node.Memory, s.Node.Network)
	}
	if !s.Node.StartTime.Time.Equal(time.Unix(1_000_000_000-3600, 0)) || !s.Node.CPU.Time.Time.Equal(time.Unix(1_000_000_000, 0)) {
		t.Errorf("from %v at %v", s.Node.StartTime, s.Node.CPU.Time)
	}
}

func BenchmarkSummary(b *testing.B) {
	f := fleet{nodes: 20, pods: 30, containers: 2, seed: 1, booted: time.Now().Add(-time.Hour)}
	nodes := f.build()
	b.ReportAllocs()
	size := 0
	for i := 0; b.Loop(); i++ {
		size = len(nodes[i%20].summary(clock{time.Now(), 10}, Compact))
	}
	b.SetBytes(int64(size))
}
