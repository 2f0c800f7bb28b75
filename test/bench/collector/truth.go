package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// truth is every reading that some kubelets gave, to whomever: they read a container
// every ten seconds and say the same until they read it again.
type truth struct {
	http  *http.Client
	ports map[string]int // by node

	mu   sync.Mutex
	read map[target]map[reading]bool
}

// target is one container.
type target struct{ namespace, pod, container string }

// reading is what a kubelet says of a container at one moment.
type reading struct {
	at         time.Time
	cpu        int64 // nanoseconds since its start
	memory     int64 // bytes used
	workingSet int64
}

// openTruth finds the first nodes' kubelets.
func openTruth(l *lab, nodes int) (*truth, error) {
	pem, err := os.ReadFile(l.path("kubelets", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	t := &truth{
		http:  &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
		ports: map[string]int{}, read: map[target]map[reading]bool{},
	}
	file, err := os.Open(l.path("kubelets", "nodes.ndjson"))
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(file); lines.Scan() && len(t.ports) < nodes; {
		var node struct {
			Metadata struct{ Name string }
			Status   struct {
				DaemonEndpoints struct{ KubeletEndpoint struct{ Port int } }
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &node); err != nil {
			return nil, err
		}
		t.ports[node.Metadata.Name] = node.Status.DaemonEndpoints.KubeletEndpoint.Port
	}
	return t, nil
}

// follow asks the kubelets every three seconds until ctx ends.
func (t *truth) follow(ctx context.Context) error {
	for {
		for node, port := range t.ports {
			if err := t.ask(ctx, port); err != nil && ctx.Err() == nil {
				return fmt.Errorf("ask the kubelet of %s: %w", node, err)
			}
		}
		if err := process.Pause(ctx, 3*time.Second); err != nil {
			return nil
		}
	}
}

func (t *truth) ask(ctx context.Context, port int) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/stats/summary", port), nil)
	if err != nil {
		return err
	}
	response, err := t.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				Name string
				CPU  struct {
					Time                 time.Time
					UsageCoreNanoSeconds int64
				}
				Memory struct{ UsageBytes, WorkingSetBytes int64 }
			}
		}
	}
	if err := json.Unmarshal(body, &summary); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range summary.Pods {
		for _, c := range p.Containers {
			who := target{p.PodRef.Namespace, p.PodRef.Name, c.Name}
			if t.read[who] == nil {
				t.read[who] = map[reading]bool{}
			}
			t.read[who][reading{c.CPU.Time.UTC(), c.CPU.UsageCoreNanoSeconds, c.Memory.UsageBytes, c.Memory.WorkingSetBytes}] = true
		}
	}
	return nil
}

// compare checks every series of every container that was followed, between two
// moments from which to which kubelets were asked all the time: each point must be a
// reading, and each rate that of two readings. It returns how many points it compared
// and how many are wrong.
func (t *truth) compare(ctx context.Context, l *lab, from, to time.Time) (compared, wrong int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who, readings := range t.read {
		cpu, errCPU := l.series(ctx, who, "cpu/usage", from, to)
		rate, errRate := l.series(ctx, who, "cpu/usage_rate", from, to)
		memory, errMemory := l.series(ctx, who, "memory/usage", from, to)
		working, errWorking := l.series(ctx, who, "memory/working_set", from, to)
		if err := errors.Join(errCPU, errRate, errMemory, errWorking); err != nil {
			return compared, wrong, err
		}
		n, bad := check(readings, cpu, rate, memory, working)
		compared, wrong = compared+n, wrong+bad
	}
	return compared, wrong, nil
}

// check compares one container's series with its readings.
func check(readings map[reading]bool, cpu, rate, memory, working series) (compared, wrong int) {
	byCPU, used, set := map[int64]reading{}, map[int64]bool{}, map[int64]bool{}
	for r := range readings {
		byCPU[r.cpu], used[r.memory], set[r.workingSet] = r, true, true
	}
	judge := func(right bool) {
		compared++
		if !right {
			wrong++
		}
	}
	for _, p := range memory.Metrics {
		judge(used[p.Value])
	}
	for _, p := range working.Metrics {
		judge(set[p.Value])
	}
	rates := map[time.Time]int64{}
	for _, p := range rate.Metrics {
		rates[p.Timestamp] = p.Value
	}
	for i, p := range cpu.Metrics {
		now, known := byCPU[p.Value]
		judge(known)
		if i == 0 {
			continue
		}
		before, knownBefore := byCPU[cpu.Metrics[i-1].Value]
		if got, ok := rates[p.Timestamp]; known && knownBefore && now.at.After(before.at) {
			judge(ok && got == 1000*(now.cpu-before.cpu)/now.at.Sub(before.at).Nanoseconds())
		}
	}
	return compared, wrong
}
