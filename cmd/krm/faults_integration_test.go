//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long a story waits for what must come.
const patience = 60 * time.Second

// watched are the resources of these stories; namespaces are what they change.
const watched = "namespaces,nodes,widgets.faults.krm.test"

// stage is a real control plane, a real Redis, and KRM's commands between them.
type stage struct {
	t          *testing.T // of the story that is told
	whole      *testing.T
	dir        string
	kubeconfig string
	kube       *http.Client
	host       string // of the API server
	redisPort  string
	redis      *exec.Cmd
	server     string // KRM's apiserver
	streamer   string // the newest streamer's health and metrics
}

func newStage(t *testing.T) *stage {
	t.Helper()
	cluster := os.Getenv("KRM_TEST_CLUSTER_DIR")
	if cluster == "" {
		t.Fatal("KRM_TEST_CLUSTER_DIR must name a running control plane's folder; hack/with-cluster.sh starts one")
	}
	s := &stage{t: t, whole: t, dir: t.TempDir(), kubeconfig: filepath.Join(cluster, "kubeconfig"), redisPort: freePort(t)}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if s.kube, err = rest.HTTPClientFor(config); err != nil {
		t.Fatal(err)
	}
	s.host = config.Host
	s.startRedis()
	t.Cleanup(func() { s.stopRedis("NOSAVE") })
	s.server = "http://127.0.0.1:" + s.start("apiserver")
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (s *stage) startRedis() {
	s.t.Helper()
	s.redis = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", s.redisPort, "--dir", s.dir, "--save", "", "--appendonly", "no")
	if err := s.redis.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v (make deps installs it)", err)
	}
	s.eventually("redis answers", func() error {
		if out := s.cli("PING"); out != "PONG" {
			return fmt.Errorf("redis says %q", out)
		}
		return nil
	})
}

func (s *stage) stopRedis(how string) {
	s.cli("SHUTDOWN", how)
	_ = s.redis.Wait()
}

func (s *stage) cli(args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", s.redisPort}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// start runs one of KRM's commands until the test ends or stop is called.
func (s *stage) start(command string, args ...string) (port string) {
	port, _ = s.startStoppable(command, args...)
	return port
}

func (s *stage) startStoppable(command string, args ...string) (port string, stop func()) {
	s.t.Helper()
	port = freePort(s.t)
	args = append([]string{command, "--listen=127.0.0.1:" + port, "--redis-addr=127.0.0.1:" + s.redisPort, "--log-level=warn"}, args...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(done)
		if code := execute(ctx, args, io.Discard, &log); code != 0 {
			s.t.Errorf("krm %s: exit code %d: %s", command, code, log.String())
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	s.whole.Cleanup(stop) // what one story started may go on in the next
	return port, stop
}

// startWriters runs streamer, verifier and aggregator of the watched resources.
func (s *stage) startWriters() (stop func()) {
	s.t.Helper()
	port, stopStreamer := s.startStoppable("streamer", "--resource="+watched, "--kubeconfig="+s.kubeconfig)
	_, stopVerifier := s.startStoppable("verifier", "--resource="+watched, "--kubeconfig="+s.kubeconfig, "--verify-every=5s")
	_, stopAggregator := s.startStoppable("aggregator", "--resource="+watched)
	s.streamer = "http://127.0.0.1:" + port
	return func() { stopStreamer(); stopVerifier(); stopAggregator() }
}

func (s *stage) eventually(what string, check func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: not within %v: %v", what, patience, err)
}

// request asks the API server.
func (s *stage) request(method, path, body string) (int, []byte) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.host+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := s.kube.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return answer.StatusCode, text
}

func (s *stage) createNamespace(name string, bytes int) {
	s.t.Helper()
	body := fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"faults":"yes"},"annotations":{"filler":%q}}}`, name, strings.Repeat("krm ", bytes/4))
	if code, text := s.request("POST", "/api/v1/namespaces", body); code != http.StatusCreated {
		s.t.Fatalf("create namespace %s: %d %s", name, code, text)
	}
}

// versions maps the names of a list to UID and version.
func versions(text []byte) (map[string]string, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Namespace, Name, UID, ResourceVersion string }
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, text)
	}
	found := map[string]string{}
	for _, item := range list.Items {
		found[item.Metadata.Namespace+"/"+item.Metadata.Name] = item.Metadata.UID + "@" + item.Metadata.ResourceVersion
	}
	return found, nil
}

func firstDifference(said, truth map[string]string) string {
	for name, want := range truth {
		if said[name] != want {
			return fmt.Sprintf("%s is %q, want %q", name, said[name], want)
		}
	}
	for name, got := range said {
		if truth[name] == "" {
			return fmt.Sprintf("%s is %q, want none", name, got)
		}
	}
	return "no difference"
}

// get reads from KRM.
func (s *stage) get(path string) (int, []byte, error) { return s.fetch(s.server + path) }

func (s *stage) fetch(url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// equal waits until KRM says of namespaces and nodes what the API server says.
func (s *stage) equal(when string) {
	s.t.Helper()
	for _, path := range []string{"/api/v1/namespaces", "/api/v1/nodes"} {
		s.eventually(when+": "+path+" is equal", func() error {
			code, text := s.request("GET", path, "")
			if code != http.StatusOK {
				return fmt.Errorf("the API server answers %d %.200s", code, text)
			}
			truth, err := versions(text)
			if err != nil {
				return err
			}
			if code, text, err = s.get(path); err != nil || code != http.StatusOK {
				return fmt.Errorf("KRM answers %d %.200s %w", code, text, err)
			}
			said, err := versions(text)
			if err == nil && !maps.Equal(truth, said) {
				err = fmt.Errorf("KRM has %d objects, the API server %d: %s", len(said), len(truth), firstDifference(said, truth))
			}
			return err
		})
	}
}

// state returns what the role says of a resource, and its message.
func (s *stage) state(resource, role string) (state, message string, err error) {
	_, text, err := s.get("/krm/v1/status")
	if err != nil {
		return "", "", err
	}
	var status struct {
		Resources []struct {
			Resource string
			Roles    []struct{ Role, State, Message string }
		}
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return "", "", err
	}
	for _, r := range status.Resources {
		for _, reported := range r.Roles {
			if r.Resource == resource && reported.Role == role && reported.State != "standby" {
				state, message = reported.State, reported.Message
			}
		}
	}
	return state, message, nil
}

func (s *stage) untilState(resource, role, want, mention string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s of %s is %s", role, resource, want), func() error {
		state, message, err := s.state(resource, role)
		if err == nil && (state != want || !strings.Contains(message, mention)) {
			err = fmt.Errorf("it is %q: %s", state, message)
		}
		return err
	})
}

// guard reads namespaces all the time until stop, and counts answers that are no
// list, and objects that went back in time.
func (s *stage) guard() (stop func() (reads, refused, back int)) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	var reads, refused, back int
	group.Go(func() {
		newest := map[string]string{}
		for ctx.Err() == nil {
			code, text, err := s.get("/api/v1/namespaces")
			said, parseErr := versions(text)
			if reads++; err != nil || code != http.StatusOK || parseErr != nil {
				refused++
				continue
			}
			for name, version := range said {
				uid, rv, _ := strings.Cut(version, "@")
				oldUID, oldRV, _ := strings.Cut(newest[name], "@")
				if uid == oldUID && (len(rv) < len(oldRV) || len(rv) == len(oldRV) && rv < oldRV) {
					back++
				}
				newest[name] = version
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() (int, int, int) { cancel(); group.Wait(); return reads, refused, back }
}

func (s *stage) undisturbed(stop func() (reads, refused, back int)) {
	s.t.Helper()
	if reads, refused, back := stop(); reads == 0 || refused > 0 || back > 0 {
		s.t.Errorf("of %d reads %d were refused, and %d objects went back in time", reads, refused, back)
	}
}

// TestFaults tells of Redis and the cluster in trouble, one story after another on
// the same stage. Each ends with KRM saying what the API server says.
func TestFaults(t *testing.T) {
	s := newStage(t)
	s.eventually("the apiserver answers", func() error {
		code, _, err := s.get("/api/v1/namespaces")
		if code == http.StatusOK {
			t.Fatal("before the first sync a list is answered with 200")
		}
		return err
	})
	stopFirst := s.startWriters()
	s.equal("at the start")
	run := func(name string, story func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			outer := s.t
			s.t = t
			defer func() { s.t = outer }()
			story(t)
		})
	}
	prefix := fmt.Sprintf("faults-%d-", time.Now().UnixNano()%1e9)

	run("unknown resource, CRD that appears and goes", func(*testing.T) {
		s.untilState("widgets.faults.krm.test", "streamer", "absent", "widgets.faults.krm.test")
		crd := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.faults.krm.test"},"spec":{"group":"faults.krm.test","scope":"Namespaced",
			"names":{"plural":"widgets","singular":"widget","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`
		const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
		if code, text := s.request("POST", crds, crd); code != http.StatusCreated {
			s.t.Fatalf("create the CRD: %d %s", code, text)
		}
		s.untilState("widgets.faults.krm.test", "streamer", "following", "")
		widget := `{"apiVersion":"faults.krm.test/v1","kind":"Widget","metadata":{"name":"one"},"spec":{"size":7}}`
		if code, text := s.request("POST", "/apis/faults.krm.test/v1/namespaces/default/widgets", widget); code != http.StatusCreated {
			s.t.Fatalf("create a widget: %d %s", code, text)
		}
		s.eventually("KRM serves the widget", func() error {
			code, text, err := s.get("/apis/faults.krm.test/v1/namespaces/default/widgets/one")
			if err == nil && (code != http.StatusOK || !bytes.Contains(text, []byte(`"size":7`))) {
				err = fmt.Errorf("%d %s", code, text)
			}
			return err
		})
		if code, text := s.request("DELETE", crds+"/widgets.faults.krm.test", ""); code != http.StatusOK {
			s.t.Fatalf("delete the CRD: %d %s", code, text)
		}
		s.untilState("widgets.faults.krm.test", "streamer", "absent", "")
	})

	run("a resource that may not be read", func(*testing.T) {
		config, err := clientcmd.LoadFromFile(s.kubeconfig)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, user := range config.AuthInfos {
			user.Impersonate = "somebody"
		}
		limited := filepath.Join(s.dir, "limited")
		if err := clientcmd.WriteToFile(*config, limited); err != nil {
			s.t.Fatal(err)
		}
		_, stop := s.startStoppable("streamer", "--resource=configmaps", "--kubeconfig="+limited)
		defer stop()
		s.untilState("configmaps", "streamer", "forbidden", `"configmaps"`)
		_, message, err := s.state("configmaps", "streamer")
		if err != nil || !strings.Contains(message, "list") || !strings.Contains(message, "watch") {
			s.t.Errorf("the message %q does not name the verbs that are missing (%v)", message, err)
		}
		s.untilState("namespaces", "streamer", "following", "") // others go on
	})

	run("a second set of writers stands by and takes over", func(*testing.T) {
		stopSecond := s.startWriters()
		time.Sleep(2 * time.Second)
		s.createNamespace(prefix+"before", 0)
		s.equal("with two sets of writers")
		stopFirst()
		s.createNamespace(prefix+"after", 0)
		s.equal("after the first set ended")
		stopFirst = stopSecond
	})

	run("redis loses everything", func(*testing.T) {
		stop := s.guard()
		s.cli("FLUSHALL")
		s.createNamespace(prefix+"flushed", 0)
		s.equal("after FLUSHALL")
		s.undisturbed(stop)
	})

	run("redis loses its last writes", func(*testing.T) {
		stop := s.guard()
		if out := s.cli("SAVE"); out != "OK" {
			s.t.Fatalf("SAVE: %s", out)
		}
		for i := range 20 {
			s.createNamespace(fmt.Sprintf("%slost-%d", prefix, i), 0)
		}
		s.equal("before the loss")
		s.stopRedis("NOSAVE") // dump.rdb knows nothing of the last 20
		s.startRedis()
		s.equal("after the loss")
		s.undisturbed(stop)
	})

	run("redis is full", func(*testing.T) {
		stop := s.guard()
		used := strings.TrimSpace(strings.Split(strings.SplitAfter(s.cli("INFO", "memory"), "used_memory:")[1], "\n")[0])
		s.cli("CONFIG", "SET", "maxmemory", used)
		for i := range 5 {
			s.createNamespace(fmt.Sprintf("%sfull-%d", prefix, i), 100<<10)
		}
		s.untilRefused()
		s.cli("CONFIG", "SET", "maxmemory", "0")
		s.equal("after relief")
		s.undisturbed(stop)
	})

	run("another cluster behind the same redis", func(*testing.T) {
		// The log says that it is of another cluster than the one the next streamer finds.
		stopFirst()
		resync := s.cli("HGET", "krm:{namespaces}:log:meta", "resync")
		var meta map[string]any
		if err := json.Unmarshal([]byte(resync), &meta); err != nil || meta["ClusterUID"] == "" {
			s.t.Fatalf("the log's meta is %q: %v", resync, err)
		}
		meta["ClusterUID"] = "another"
		text, err := json.Marshal(meta)
		if err != nil {
			s.t.Fatal(err)
		}
		s.cli("HSET", "krm:{namespaces}:log:meta", "resync", string(text))
		// And it holds what this cluster never had.
		lineage := fmt.Sprint(meta["Lineage"])
		stopFirst = s.startWriters()
		s.equal("in the other cluster")
		s.eventually("a new lineage", func() error {
			if now := s.cli("HGET", "krm:{namespaces}:log:meta", "resync"); strings.Contains(now, lineage) {
				return fmt.Errorf("still %s", now)
			}
			return nil
		})
	})

	run("etcd is restored to an older state", func(*testing.T) {
		saved := filepath.Join(s.dir, "etcd.db")
		s.cluster("snapshot", saved)
		for i := range 5 {
			s.createNamespace(fmt.Sprintf("%sundone-%d", prefix, i), 0)
		}
		s.equal("before the restore")
		s.cluster("restore", saved)
		s.equal("after the restore")
	})
}

// untilRefused waits until Redis has refused an append of the streamer. Its status
// cannot tell: that would have to be written into Redis, too.
func (s *stage) untilRefused() {
	s.t.Helper()
	const refused = `krm_redis_errors_total{operation="append"}`
	s.eventually("the streamer's metrics count refused appends", func() error {
		code, text, err := s.fetch(s.streamer + "/metrics")
		if err == nil && !bytes.Contains(text, []byte(refused)) {
			err = fmt.Errorf("%d, no %s among %d bytes", code, refused, len(text))
		}
		return err
	})
}

// cluster gives an order to the control plane.
func (s *stage) cluster(order, file string) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "../../hack/cluster.sh", order, "--dir="+os.Getenv("KRM_TEST_CLUSTER_DIR"), file).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", order, err, out)
	}
}
