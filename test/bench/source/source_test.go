package source

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
)

const pods = 20

func start(t *testing.T) (*frames.World, *Server, string) {
	t.Helper()
	world := frames.NewWorld(frames.New(pods, true, 1), 1)
	server, err := New(world)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return world, server, "http://" + server.listener.Addr().String()
}

type frame struct {
	Type   string
	Object struct {
		Code              int
		ColumnDefinitions []any
		Metadata          struct{ ResourceVersion string }
		Rows              []struct {
			Object struct {
				Metadata struct {
					Name        string
					Annotations map[string]string
				}
			}
		}
	}
}

// watch returns a function that reads the next frame.
func watch(t *testing.T, url string) func() frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = answer.Body.Close()
	})
	reader := bufio.NewReader(answer.Body)
	return func() (f frame) {
		t.Helper()
		line, err := reader.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		return f
	}
}

func TestInitialEventsThenLive(t *testing.T) {
	world, _, url := start(t)
	next := watch(t, url+"/api/v1/pods?watch=true&sendInitialEvents=true&timeoutSeconds=300")
	for i := range pods {
		if f := next(); f.Type != "ADDED" || (len(f.Object.ColumnDefinitions) > 0) != (i == 0) {
			t.Fatalf("initial frame %d: %+v", i, f)
		}
	}
	if f := next(); f.Type != "BOOKMARK" || f.Object.Rows[0].Object.Metadata.Annotations["k8s.io/initial-events-end"] != "true" || f.Object.Metadata.ResourceVersion != "1000000020" {
		t.Fatalf("the end of the initial events: %+v", f)
	}
	world.Advance(3)
	for _, version := range []string{"1000000021", "1000000022", "1000000023"} {
		if f := next(); f.Object.Metadata.ResourceVersion != version || f.Type == "BOOKMARK" {
			t.Fatalf("want version %s: %+v", version, f)
		}
	}
}

func TestWatchResumes(t *testing.T) {
	world, server, url := start(t)
	world.Advance(10)
	next := watch(t, url+"/api/v1/pods?watch=true&resourceVersion=1000000025&timeoutSeconds=5")
	for _, version := range []string{"1000000026", "1000000027", "1000000028", "1000000029", "1000000030"} {
		if f := next(); f.Object.Metadata.ResourceVersion != version {
			t.Fatalf("want version %s: %+v", version, f)
		}
	}
	if f := next(); f.Type != "BOOKMARK" || f.Object.Metadata.ResourceVersion != "1000000030" {
		t.Errorf("at the end of a short watch: %+v", f)
	}
	expired := watch(t, url+"/api/v1/pods?watch=true&resourceVersion=7&timeoutSeconds=5")
	if f := expired(); f.Type != "ERROR" || f.Object.Code != 410 {
		t.Errorf("a watch from long ago: %+v", f)
	}
	if lists, watches, expired := server.Counts(); lists != 0 || watches != 2 || expired != 1 {
		t.Errorf("counts: %d lists, %d watches, %d expired", lists, watches, expired)
	}
}

func TestFloodIsDrivenByTheLongWatch(t *testing.T) {
	world, server, url := start(t)
	next := watch(t, url+"/api/v1/pods?watch=true&resourceVersion=1000000020&timeoutSeconds=300")
	server.Flood(time.Minute)
	for range 1000 {
		next()
	}
	// What waits in buffers is bounded: the reader paces the world.
	if head := world.Head(); head < 1_000_001_020 || head > 1_000_020_000 {
		t.Errorf("after 1,000 frames the head is %d", head)
	}
}

func TestPaceAndSent(t *testing.T) {
	world, server, url := start(t)
	next := watch(t, url+"/api/v1/pods?watch=true&resourceVersion=1000000020&timeoutSeconds=300")
	before := world.Head()
	go server.Pace(t.Context(), 500, 400*time.Millisecond)
	sent := <-server.Sent()
	if f := next(); f.Type == "" || time.Since(sent.At) > 10*time.Second {
		t.Errorf("%+v sent at %v", f, sent.At)
	}
	<-time.After(500 * time.Millisecond)
	if n := world.Head() - before; n < 150 || n > 201 {
		t.Errorf("%d events in 0.4 s at 500/s", n)
	}
}

func TestDiscoveryAndProbe(t *testing.T) {
	_, server, url := start(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.WriteKubeconfig(path); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := client.ServerGroupsAndResourcesWithContext(t.Context())
	if err != nil || len(lists) != 1 || lists[0].APIResources[0].Name != "pods" {
		t.Errorf("discovery: %v, %v", lists, err)
	}
	next := watch(t, url+"/api/v1/pods?watch=true&sendInitialEvents=true&labelSelector=a%3Db&timeoutSeconds=10")
	if f := next(); f.Type != "BOOKMARK" || f.Object.Metadata.ResourceVersion != "1000000020" {
		t.Errorf("probe: %+v", f)
	}
}
