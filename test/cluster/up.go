package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// UpConfig is what "cluster up" can be told.
type UpConfig struct {
	Dir           string
	Fresh         bool
	Asked         Ports
	APIServerArgs []string
	Seed          SeedConfig
}

// RegisterFlags adds c's flags to fs, with the defaults.
func (c *UpConfig) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Dir, "dir", "", "folder of the cluster: data, logs, kubeconfig (required)")
	fs.BoolVar(&c.Fresh, "fresh", false, "forget the data of the last run in --dir")
	fs.StringVar(&c.Asked.Address, "address", loopback, "address of kube-apiserver; one that is not loopback is for a network namespace of your own, where pods and real kubelets reach it")
	fs.IntVar(&c.Asked.APIServer, "apiserver-port", 0, "port of kube-apiserver; 0: that of the last run if it is free, else any")
	fs.IntVar(&c.Asked.EtcdClient, "etcd-port", 0, "port of etcd for clients; 0: as above")
	fs.StringArrayVar(&c.APIServerArgs, "apiserver-arg", nil, "one more argument for kube-apiserver, such as --apiserver-arg=--v=4 (may be repeated)")
	c.Seed.RegisterFlags(fs)
}

// Validate joins all faults of c.
func (c *UpConfig) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("say where the cluster lives with --dir=DIR"))
	}
	if net.ParseIP(c.Asked.Address) == nil {
		faults = append(faults, fmt.Errorf("--address=%s: give an IP address of this machine", c.Asked.Address))
	}
	for flag, port := range map[string]int{"--apiserver-port": c.Asked.APIServer, "--etcd-port": c.Asked.EtcdClient} {
		if port < 0 || port > 65535 {
			faults = append(faults, fmt.Errorf("%s=%d: give a port between 1 and 65535, or 0 for any free one", flag, port))
		}
	}
	return errors.Join(append(faults, c.Seed.Validate())...)
}

func newUpCommand() *cobra.Command {
	var cfg UpConfig
	cmd := &cobra.Command{
		Use:   "up --dir=DIR",
		Short: "Start a cluster, print one line when it is ready, and run until it is stopped",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			return up(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cfg.RegisterFlags(cmd.Flags())
	return cmd
}

// up runs a cluster until asked ends, "cluster stop" is called or a part dies; only
// the last is an error. It writes one line to out when the cluster is ready.
func up(asked context.Context, cfg UpConfig, out, progress io.Writer) (err error) {
	var mu sync.Mutex // parts report from several goroutines
	began := time.Now()
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(progress, "cluster: %5.1fs "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
	}

	// One cluster per folder; its files, certificates and ports.
	d, err := openDir(cfg.Dir)
	if err != nil {
		return err
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer lock.Close() // last of all: "cluster stop" waits for it
	ports, err := prepare(d, cfg)
	if err != nil {
		return err
	}
	if err := d.writePID("cluster", os.Getpid()); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	defer func() { _ = errors.Join(os.Remove(d.pid("cluster")), os.Remove(d.env())) }()
	control, err := listenControl(d)
	if err != nil {
		return err
	}
	defer control.Close()

	// The parts, and a way for each to end everything.
	ctx, fail := context.WithCancelCause(asked)
	defer fail(nil)
	s := &supervisor{
		dir: d, ports: ports, extraArgs: cfg.APIServerArgs,
		say: say, fail: fail, processes: map[string]*process{},
	}
	say("starting in %s", d)
	var background sync.WaitGroup
	defer func() {
		fail(nil)
		say("stopping")
		s.stop()
		background.Wait()
		say("stopped")
	}()
	if err := s.start(ctx); err != nil {
		return ending(asked, ctx, err)
	}
	background.Go(func() {
		if err := s.serveControl(ctx, control); err != nil {
			fail(err)
		}
	})
	if err := writeEnv(d, ports); err != nil {
		return err
	}
	background.Go(func() {
		if err := seed(ctx, d, cfg.Seed, say); err != nil && ctx.Err() == nil {
			fail(err)
		}
	})
	if _, err := fmt.Fprintf(out, "ready KUBECONFIG=%s\n", d.kubeconfig()); err != nil {
		return fmt.Errorf("say that the cluster is ready: %w", err)
	}
	<-ctx.Done()
	return ending(asked, ctx, nil)
}

// ending returns why the cluster whose parts ran under ctx ended: nil if it was
// asked to, by a signal that ended asked or by "cluster stop".
func ending(asked, ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil: // a part did not start
		return err
	case errors.Is(cause, errStopped), asked.Err() != nil && cause == context.Cause(asked):
		return nil
	default: // a part died
		return cause
	}
}

// prepare settles the ports and writes certificates and configuration.
func prepare(d Dir, cfg UpConfig) (Ports, error) {
	if cfg.Fresh {
		if err := d.wipe(); err != nil {
			return Ports{}, err
		}
	}
	if err := d.startRun(); err != nil {
		return Ports{}, err
	}
	last, err := loadPorts(d.ports())
	if err != nil {
		return Ports{}, err
	}
	ports, err := choosePorts(cfg.Asked, last)
	if err != nil {
		return Ports{}, err
	}
	if err := savePorts(d.ports(), ports); err != nil {
		return Ports{}, fmt.Errorf("remember the ports: %w", err)
	}
	if err := makePKI(d, ports.host()); err != nil {
		return Ports{}, err
	}
	return ports, writeComponentConfigs(d, ports)
}

// writeEnv writes DIR/env, which shells source and tests read.
func writeEnv(d Dir, ports Ports) error {
	lines := []string{
		"KUBECONFIG=" + d.kubeconfig(),
		"ETCD_ENDPOINTS=" + localURL("http", ports.EtcdClient),
		"APISERVER=" + ports.server(),
		fmt.Sprintf("PID=%d", os.Getpid()),
	}
	if err := writeFile(d.env(), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the cluster's addresses: %w", err)
	}
	return nil
}
