// Command kubelets plays the kubelets of nodes that have none: made-up nodes for
// measurements, a local control plane's simulated nodes, or recorded fixtures.
// README.md says how to use it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
)

// config is what the command line says.
type config struct {
	nodes, pods, containers int
	seed                    int64
	kubeconfig              string
	fixtures                string

	dir             string
	tlsCert, tlsKey string
	plain           bool
	firstPort       int
	control, api    string
	dcgm            string
	tokenFile       string
	housekeeping    time.Duration
	full            bool
	logLevel        string
}

func parseFlags(args []string) (config, error) {
	var c config
	fs := pflag.NewFlagSet("kubelets", pflag.ContinueOnError)
	fs.IntVar(&c.nodes, "nodes", 0, "make up so many nodes")
	fs.IntVar(&c.pods, "pods", 30, "pods of each made-up node")
	fs.IntVar(&c.containers, "containers", 2, "containers of each made-up pod")
	fs.Int64Var(&c.seed, "seed", 1, "made-up nodes are the same for the same seed")
	fs.StringVar(&c.kubeconfig, "kubeconfig", "", "play the simulated nodes of this cluster (annotation "+simulated+"="+simulatedValue+")")
	fs.StringVar(&c.fixtures, "fixtures", "", "play the recorded nodes of this folder")
	fs.StringVar(&c.dir, "dir", "", "folder for ca.crt and, of made-up nodes, {nodes,namespaces,pods}.ndjson (required)")
	fs.StringVar(&c.tlsCert, "tls-cert-file", "", "the kubelets' certificate; without it they have one of a CA of their own")
	fs.StringVar(&c.tlsKey, "tls-private-key-file", "", "its key")
	fs.BoolVar(&c.plain, "plain", false, "plain HTTP")
	fs.IntVar(&c.firstPort, "first-port", 0, "the first node's port, the next node has the next; 0: any")
	fs.StringVar(&c.control, "control", "127.0.0.1:0", "where faults are ordered")
	fs.StringVar(&c.api, "api", "127.0.0.1:0", "where the nodes, pods and namespaces of fixtures are served as an API server does")
	fs.StringVar(&c.dcgm, "dcgm", "127.0.0.1:0", "where the fixtures' DCGM exporter is served")
	fs.StringVar(&c.tokenFile, "token-file", "", "only who brings one of the bearer tokens in this file gets an answer; read again when it changes")
	fs.DurationVar(&c.housekeeping, "housekeeping", 10*time.Second, "how often cgroups are read, in whole seconds")
	fs.BoolVar(&c.full, "full", false, "summaries with pressure, I/O and swap sections, indented, as kubelets of 1.36 write them")
	fs.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn, error")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	return c, c.validate()
}

func (c config) validate() error {
	var faults []error
	modes := 0
	for _, on := range []bool{c.nodes > 0, c.kubeconfig != "", c.fixtures != ""} {
		if on {
			modes++
		}
	}
	if modes != 1 {
		faults = append(faults, errors.New("give one of --nodes, --kubeconfig and --fixtures"))
	}
	if c.dir == "" {
		faults = append(faults, errors.New("give --dir"))
	}
	if c.nodes < 0 || c.pods < 0 || c.pods > 1000 || c.containers < 1 || c.containers > 100 {
		faults = append(faults, errors.New("give up to 1000 --pods and 1 to 100 --containers"))
	}
	if c.housekeeping < time.Second || c.housekeeping%time.Second != 0 {
		faults = append(faults, fmt.Errorf("--housekeeping=%v: give whole seconds", c.housekeeping))
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		faults = append(faults, errors.New("give --tls-cert-file and --tls-private-key-file together"))
	}
	return errors.Join(faults...)
}

func main() {
	cfg, err := parseFlags(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelets:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kubelets:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. Once all kubelets answer it writes a line
// "ready KEY=VALUE …" to out.
func run(ctx context.Context, cfg config, out io.Writer) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.logLevel)); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := os.MkdirAll(cfg.dir, 0o755); err != nil {
		return fmt.Errorf("make --dir: %w", err)
	}
	o, err := cfg.options()
	if err != nil {
		return err
	}
	h := &house{cfg: cfg, options: o, log: log, out: out}
	h.group, ctx = errgroup.WithContext(ctx)
	switch {
	case cfg.kubeconfig != "":
		err = h.follow(ctx)
	case cfg.fixtures != "":
		err = h.replay(ctx)
	default:
		err = h.makeUp(ctx)
	}
	if err != nil {
		return err
	}
	return h.group.Wait()
}

func (c config) options() (options, error) {
	o := options{address: "127.0.0.1", housekeeping: int64(c.housekeeping / time.Second)}
	if c.full {
		o.shape = Full
	}
	if c.tokenFile != "" {
		o.tokens = &tokens{path: c.tokenFile}
	}
	if c.plain {
		return o, nil
	}
	var certificate tls.Certificate
	var err error
	if c.tlsCert != "" {
		certificate, err = tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	} else {
		certificate, err = ownCertificate(filepath.Join(c.dir, "ca.crt"))
	}
	o.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	return o, err
}

// house is what runs in this program.
type house struct {
	cfg     config
	options options
	log     *slog.Logger
	out     io.Writer
	group   *errgroup.Group
}

// makeUp serves made-up nodes.
func (h *house) makeUp(ctx context.Context) error {
	f := fleet{nodes: h.cfg.nodes, pods: h.cfg.pods, containers: h.cfg.containers, seed: h.cfg.seed, booted: time.Now().UTC().Add(-bootedBefore).Truncate(time.Second)}
	nodes, names := map[string]content{}, []string(nil)
	for _, node := range f.build() {
		nodes[node.Name], names = node, append(names, node.Name)
	}
	all, err := openAll(nodes, names, h.cfg.firstPort, h.options, h.log)
	if err != nil {
		return err
	}
	h.closeAfter(ctx, func() []*kubelet { return all })
	var ports []int
	for _, k := range all {
		ports = append(ports, k.port)
	}
	if err := f.writeObjects(h.cfg.dir, ports); err != nil {
		return err
	}
	return h.open(ctx, &control{kubelets: func() []*kubelet { return all }}, fmt.Sprintf("nodes=%d objects=%s", len(all), h.cfg.dir))
}

// replay serves recorded nodes, their objects, and their GPUs.
func (h *house) replay(ctx context.Context) error {
	f, err := openFixtures(h.cfg.fixtures, time.Now())
	if err != nil {
		return err
	}
	h.options.housekeeping = 1
	nodes := map[string]content{}
	for name, r := range f.summaries {
		nodes[name] = r
	}
	all, err := openAll(nodes, f.nodes(), h.cfg.firstPort, h.options, h.log)
	if err != nil {
		return err
	}
	h.closeAfter(ctx, func() []*kubelet { return all })
	f.place(all)
	api := newAPI(f.objects)
	apiAt, err := h.listen(ctx, h.cfg.api, api.handler())
	if err != nil {
		return err
	}
	dcgmAt, err := h.listen(ctx, h.cfg.dcgm, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(dcgm()) }))
	if err != nil {
		return err
	}
	return h.open(ctx, &control{kubelets: func() []*kubelet { return all }, api: api},
		fmt.Sprintf("nodes=%d api=http://%s dcgm=http://%s t0=%s", len(all), apiAt, dcgmAt, f.t0.Format(time.RFC3339)))
}

// follow serves the simulated nodes of a cluster.
func (h *house) follow(ctx context.Context) error {
	f, err := newFollower(h.cfg.kubeconfig, h.cfg.firstPort, h.options, h.log)
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	h.group.Go(func() error { return f.run(ctx, func() { close(ready) }) })
	select {
	case <-ready:
	case <-ctx.Done():
		return nil
	}
	return h.open(ctx, &control{kubelets: f.all}, fmt.Sprintf("nodes=%d", len(f.all())))
}

// open serves the control endpoint and says that all is ready.
func (h *house) open(ctx context.Context, c *control, about string) error {
	at, err := h.listen(ctx, h.cfg.control, c.handler())
	if err != nil {
		return err
	}
	ca := ""
	if h.cfg.tlsCert == "" && !h.cfg.plain {
		ca = " ca=" + filepath.Join(h.cfg.dir, "ca.crt")
	}
	_, err = fmt.Fprintf(h.out, "ready control=http://%s%s %s\n", at, ca, about)
	return err
}

func (h *house) listen(ctx context.Context, address string, handler http.Handler) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen at %s: %w", address, err)
	}
	h.group.Go(func() error { return serve(ctx, listener, handler) })
	return listener.Addr().String(), nil
}

func (h *house) closeAfter(ctx context.Context, all func() []*kubelet) {
	h.group.Go(func() error {
		<-ctx.Done()
		closeAll(all())
		return nil
	})
}

// place gives the recorded nodes their kubelets' addresses. Those without a recording
// have a port at which nobody listens.
func (f *fixtures) place(all []*kubelet) {
	for _, node := range f.objects["nodes"] {
		status, ok := node["status"].(map[string]any)
		if !ok {
			continue
		}
		port := 1
		for _, k := range all {
			if k.name == name(node) {
				port = k.port
			}
		}
		status["daemonEndpoints"] = map[string]any{"kubeletEndpoint": map[string]any{"Port": port}}
		addresses, _ := status["addresses"].([]any)
		for _, one := range addresses {
			if address, ok := one.(map[string]any); ok && address["type"] == "InternalIP" {
				address["address"] = "127.0.0.1"
			}
		}
	}
}
