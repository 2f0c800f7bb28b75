package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// stage is everything that all parts share: a cluster that is collected while stories are
// told, and the folder of logs.
type stage struct {
	*progress
	cfg  config
	dir  string
	room string    // the folder of databases
	now  time.Time // when the suite began: what stories are dated by
	live *process.Process
	api  string // of the simulated kubelets' objects, with what an API server says of itself
	ca   string
	door *front
	mu   sync.Mutex
	all  []*process.Process // to be ended
}

func openStage(ctx context.Context, cfg config, p *progress) (*stage, error) {
	st := &stage{progress: p, cfg: cfg, now: time.Now().UTC()}
	var err error
	if st.dir, err = makeDir(cfg.keep); err != nil {
		return nil, err
	}
	if st.room, err = makeRoom(st.dir); err != nil {
		return st, err
	}
	st.say("logs are in %s, data in %s", st.dir, st.room)
	return st, st.startLive(ctx)
}

func makeDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "krm-billing-*")
	}
	return keep, os.MkdirAll(keep, 0o755)
}

// makeRoom makes the folder of the databases: in memory where there is such a place, for
// thousands of synced writes say nothing about billing but take minutes on a busy disk.
func makeRoom(dir string) (string, error) {
	var room syscall.Statfs_t
	const memory, least = "/dev/shm", 1 << 30
	if syscall.Statfs(memory, &room) == nil && room.Bavail*uint64(room.Bsize) > least {
		return os.MkdirTemp(memory, "krm-billing-*")
	}
	dir = filepath.Join(dir, "data")
	return dir, os.MkdirAll(dir, 0o700)
}

func (st *stage) path(name string) string { return filepath.Join(st.dir, name) }

// start starts a program that ends with the suite.
func (st *stage) start(spec process.Spec) (*process.Process, error) {
	p, err := process.Start(spec)
	if err == nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.all = append(st.all, p)
	}
	return p, err
}

var readyLine = regexp.MustCompile(`(?m)^ready .*$`)

// startLive plays the recorded nodes, and an API server before their objects.
func (st *stage) startLive(ctx context.Context) error {
	log := st.path("kubelets.log")
	if err := os.RemoveAll(log); err != nil { // of an earlier run with --keep
		return err
	}
	_, err := st.start(process.Spec{
		Name: "kubelets", Path: st.cfg.kubelets, Log: log, Args: []string{"--fixtures=" + st.cfg.fixtures, "--housekeeping=1s", "--dir=" + st.path("kubelets")},
	})
	if err != nil {
		return err
	}
	about := map[string]string{}
	err = process.Poll(ctx, 30*time.Second, "kubelets", func(context.Context) error {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		line := readyLine.FindString(string(text))
		if line == "" {
			return errors.New("no ready line")
		}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			about[key] = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if st.door, err = openFront(about["api"]); err != nil {
		return err
	}
	st.api, st.ca = st.door.url(), about["ca"]
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, st.api)
	return os.WriteFile(st.path("kubeconfig"), []byte(kubeconfig), 0o600)
}

// resolution is the shortest that the collector takes.
const resolution = 5 * time.Second

// standalone are the arguments that have krm standalone collect the live cluster.
func (st *stage) standalone(port int, more ...string) []string {
	return append([]string{
		"standalone", "--kubeconfig=" + st.path("kubeconfig"), "--resource=pods,nodes,namespaces", fmt.Sprintf("--listen=127.0.0.1:%d", port),
		"--metric-resolution=" + resolution.String(), "--source=kubernetes:" + st.api + "?inClusterConfig=false&kubeletCAFile=" + st.ca,
	}, more...)
}

// credentials are the environment that has KRM answer us.
func credentials(more ...string) []string {
	return append([]string{"API_USERNAME=" + username, "API_PASSWORD=" + password}, more...)
}

// close ends everything that was started, in reverse order.
func (st *stage) close(failed bool) {
	for i := len(st.all) - 1; i >= 0; i-- {
		select {
		case <-st.all[i].Done():
		default:
			st.all[i].Stop(10 * time.Second)
		}
	}
	if st.door != nil {
		st.door.close()
	}
	if st.room != "" {
		if err := os.RemoveAll(st.room); err != nil {
			st.say("remove the data: %v", err)
		}
	}
	if failed || st.cfg.keep != "" {
		st.say("logs are kept in %s", st.dir)
		return
	}
	if err := os.RemoveAll(st.dir); err != nil {
		st.say("remove the logs: %v", err)
	}
}

// answering waits until a KRM answers.
func answering(ctx context.Context, a *asker, p *process.Process) error {
	return process.Poll(ctx, 30*time.Second, "krm at "+a.base, func(ctx context.Context) error {
		select {
		case <-p.Done():
			return process.Final(fmt.Errorf("it ended: %w", errors.Join(p.Err(), errors.New("see its log"))))
		default:
		}
		got, err := a.do(ctx, http.MethodGet, "/healthz", "")
		if err == nil && got.code != http.StatusOK {
			err = fmt.Errorf("/healthz: %d", got.code)
		}
		return err
	})
}
