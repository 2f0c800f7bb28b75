//go:build integration

package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// realRedis is a redis-server of the test's own.
type realRedis struct {
	t    testing.TB
	addr string
	dir  string
	args []string
	cmd  *exec.Cmd
}

func startRedis(t testing.TB, args ...string) *realRedis {
	t.Helper()
	r := &realRedis{t: t, addr: freeAddr(t), dir: t.TempDir(), args: args}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func freeAddr(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func (r *realRedis) start() {
	r.t.Helper()
	host, port, _ := strings.Cut(r.addr, ":")
	args := append([]string{"--bind", host, "--port", port, "--dir", r.dir, "--save", ""}, r.args...)
	r.run("redis-server", args...)
}

// run starts a server and waits until it answers.
func (r *realRedis) run(name string, args ...string) {
	r.t.Helper()
	var output bytes.Buffer
	r.cmd = exec.Command(name, args...)
	r.cmd.Stdout, r.cmd.Stderr = &output, &output
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", name, err)
	}
	client := redis.NewClient(&redis.Options{Addr: r.addr, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	deadline := time.Now().Add(10 * time.Second)
	for client.Ping(r.t.Context()).Err() != nil {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s does not answer: %s", name, output.String())
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stop ends the server as a crash does: nothing is saved.
func (r *realRedis) stop() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	_ = r.cmd.Wait()
	r.cmd = nil
}

// do runs one command.
func (r *realRedis) do(args ...any) {
	r.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: r.addr})
	defer func() { _ = client.Close() }()
	if err := client.Do(context.Background(), args...).Err(); err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
}

func (r *realRedis) server() *server {
	return &server{options: Options{Addrs: []string{r.addr}}, pass: func(d time.Duration) { <-time.After(d) }}
}

func (r *realRedis) world(t *testing.T) *world {
	return &world{t: t, server: r.server(), prefix: "krm", ctx: t.Context()}
}

func TestRealRedis(t *testing.T) {
	testContract(t, startRedis(t).server())
}

// One node that has every slot is enough to see keys of several slots refused.
func TestRealCluster(t *testing.T) {
	r := startRedis(t, "--cluster-enabled", "yes")
	r.do("cluster", "addslotsrange", 0, 16383)
	client := redis.NewClient(&redis.Options{Addr: r.addr})
	defer func() { _ = client.Close() }()
	for !strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok") {
		<-time.After(20 * time.Millisecond)
	}
	s := r.server()
	s.options.Cluster = true
	testContract(t, s)
}

func TestRealSentinel(t *testing.T) {
	LogTo(slog.New(slog.DiscardHandler))
	master := startRedis(t)
	sentinel := &realRedis{t: t, addr: freeAddr(t), dir: t.TempDir()}
	_, port, _ := strings.Cut(sentinel.addr, ":")
	masterHost, masterPort, _ := strings.Cut(master.addr, ":")
	config := filepath.Join(sentinel.dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor main %s %s 1\n", port, sentinel.dir, masterHost, masterPort)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel.run("redis-server", config, "--sentinel")
	t.Cleanup(sentinel.stop)
	s := master.server()
	s.options.Addrs, s.options.SentinelMaster = []string{sentinel.addr}, "main"
	testContract(t, s)
}

func TestRealEvictionIsRefused(t *testing.T) {
	r := startRedis(t, "--maxmemory-policy", "allkeys-lru", "--requirepass", "")
	w := r.world(t)
	_, err := Connect(w.ctx, r.server().options, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "noeviction") {
		t.Fatalf("error %v, want one about noeviction", err)
	}
	r.do("config", "set", "maxmemory-policy", "noeviction")
	w.store()
}

func TestRealPassword(t *testing.T) {
	r := startRedis(t)
	r.do("config", "set", "requirepass", "s3cret")
	w := r.world(t)
	f := func(password string, ok bool) {
		t.Helper()
		options := r.server().options
		options.Password = password
		s, err := Connect(w.ctx, options, slog.New(slog.DiscardHandler))
		if (err == nil) != ok {
			t.Fatalf("error %v, want none: %v", err, ok)
		}
		if err == nil {
			w.check(s.Close())
		} else if strings.Contains(err.Error(), "wr0ng") {
			t.Fatalf("the error tells the password: %v", err)
		}
	}
	f("s3cret", true)
	f("wr0ng", false)
	f("", false)
}

func TestRealRedisIsFull(t *testing.T) {
	r := startRedis(t)
	w := r.world(t)
	s := w.store()
	l, a, v := w.log(s), w.snapshot(s), w.listing(s)
	records := newPods(1).records(100)
	w.check(l.Append(w.ctx, itemsOf(records)))
	publication := object.Publication{Drift: object.Drift{Missing: 1}, Entry: object.FeedEntry{Changes: changes(object.Added, w.pack(records...)...)}}
	_, err := a.Publish(w.ctx, publication)
	w.check(err)

	r.do("config", "set", "maxmemory", "1mb")
	for range 3 {
		w.wantErr(l.Append(w.ctx, itemsOf(records)), object.ErrFull)
		_, err = a.Publish(w.ctx, publication)
		w.wantErr(err, object.ErrFull)
		w.wantErr(v.Put(w.ctx, object.Listed{ID: "a", Items: make([]object.ListedItem, 3)}), object.ErrFull)
		// Nobody loses a lease by it.
		_, err = l.Beat(w.ctx)
		w.check(err)
		w.check(a.Beat(w.ctx))
	}
	r.do("config", "set", "maxmemory", "0")
	w.check(l.Append(w.ctx, itemsOf(records)))
	_, err = a.Publish(w.ctx, publication)
	w.check(err)
	w.check(v.Put(w.ctx, object.Listed{ID: "a", Items: make([]object.ListedItem, 3)}))
	w.equal(len(w.readAll(a, "")), 2)
	state, err := s.Feed(podsResource).State(w.ctx)
	w.check(err)
	w.equal(state.Drift.Missing, int64(2))
}

// A Redis that comes back with an older state, as after a failover or a crash
// between two fsyncs.
func TestRealRedisComesBackOlder(t *testing.T) {
	r := startRedis(t)
	w := r.world(t)
	s := w.store()
	l, a := w.log(s), w.snapshot(s)
	records := newPods(1).records(100)
	w.check(l.Append(w.ctx, []object.LogItem{position("1", 1)}))
	_, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	r.do("save")
	w.check(l.Append(w.ctx, itemsOf(records))) // trains: the dictionary is lost, too
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	lostFeed, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	lost := w.readAll(a, "")
	r.stop()
	if err := l.Append(w.ctx, []object.LogItem{position("3", 3)}); err == nil {
		t.Fatal("appended without a Redis")
	}
	r.start()

	w.wantErr(l.Append(w.ctx, []object.LogItem{position("3", 3)}), object.ErrLost)
	_, err = a.Publish(w.ctx, object.Publication{})
	w.wantErr(err, object.ErrLost)
	state, err := l.Acquire(w.ctx)
	w.check(err)
	w.equal(state.Position, object.Version("1"))
	w.check(l.Append(w.ctx, itemsOf(records)))
	again := w.readAll(a, lost[len(lost)-1].ID)
	w.equal(len(again), 1)
	unpacked, err := w.store().Feed(podsResource).Unpack(w.ctx, again[0].Items[0].Packed)
	w.check(err)
	w.equal(unpacked, records[0])
	_, err = a.Acquire(w.ctx)
	w.check(err)
	id, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	if id.Compare(lostFeed) <= 0 {
		t.Fatalf("ID %s after the lost %s", id, lostFeed)
	}
}

func BenchmarkRealRedis(b *testing.B) {
	benchmarkStore(b, func(b *testing.B) Options {
		r := startRedis(b)
		return Options{Addrs: []string{r.addr}}
	})
}
