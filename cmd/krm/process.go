package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// watchedByDefault are the resources that KRM exists for.
var watchedByDefault = []string{
	"pods", "deployments.apps", "persistentvolumeclaims", "services", "ingresses.networking.k8s.io", "nodes", "namespaces",
}

// processFlags are the flags that every process has.
type processFlags struct {
	logFlags
	Listen             string
	InsecureAnyAddress bool // of processes that serve health and metrics only
}

func (f *processFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.Listen, "listen", "127.0.0.1:8080", "address of the process's HTTP server: health, metrics, and what it serves")
	f.logFlags.register(fs)
}

// registerOps adds the flags of a process that serves health and metrics only.
func (f *processFlags) registerOps(fs *pflag.FlagSet) {
	f.register(fs)
	fs.BoolVar(&f.InsecureAnyAddress, "insecure-any-address", false, "let --listen be reached from other machines: health and metrics are served without authentication")
}

func (f *processFlags) validate() error {
	if _, _, err := net.SplitHostPort(f.Listen); err != nil {
		port := "8080"
		if _, err := strconv.ParseUint(f.Listen, 10, 16); err == nil {
			port = f.Listen
		}
		return fmt.Errorf("--listen=%q: want HOST:PORT, such as 127.0.0.1:%s", f.Listen, port)
	}
	return nil
}

// validateOps refuses addresses that others reach, unless that was asked for.
func (f *processFlags) validateOps() error {
	if err := f.validate(); err != nil || f.InsecureAnyAddress {
		return err
	}
	if err := auth.CheckLoopback(f.Listen); err != nil {
		return fmt.Errorf("--listen=%w, or else --insecure-any-address", err)
	}
	return nil
}

// resourceFlag is --resource.
type resourceFlag struct{ Names []string }

func (f *resourceFlag) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.Names, "resource", watchedByDefault,
		"resource to work on, as kubectl names it: pods, deploy, widgets.example.com; repeat it or separate by commas")
}

func (f *resourceFlag) validate() error {
	var faults []error
	for i, name := range f.Names {
		if _, err := object.ParseResource(name); err != nil {
			faults = append(faults, fmt.Errorf("--resource: %w", err))
		}
		if slices.Contains(f.Names[:i], name) {
			faults = append(faults, fmt.Errorf("--resource: %q is given twice", name))
		}
	}
	if len(f.Names) == 0 {
		faults = append(faults, errors.New("--resource: want at least one"))
	}
	return errors.Join(faults...)
}

// newRegistry returns a registry with what every process reports of itself.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "krm_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	registry.MustRegister(build)
	return registry
}

// connectRedis waits for Redis: a process that starts before it goes on by itself.
// What waiting cannot mend ends it.
func connectRedis(ctx context.Context, options store.Options, log *slog.Logger) (*store.Store, error) {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		redis, err := store.Connect(ctx, options, log)
		if err == nil {
			return redis, nil
		}
		if ctx.Err() != nil || !passing(err) {
			return nil, err
		}
		log.Warn("redis does not answer, trying again", "wait", wait, "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// passing says whether Redis may answer otherwise in a moment.
func passing(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "LOADING")
}

// awaitResource returns the registered resource that name means. The streamer
// registers it once the API server has told what the name stands for.
func awaitResource(ctx context.Context, redis *store.Store, name string, log *slog.Logger) (object.Resource, error) {
	asked, err := object.ParseResource(name)
	if err != nil {
		return object.Resource{}, err
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for first := true; ; first = false {
		registered, err := redis.Resources(ctx)
		for _, candidate := range registered {
			if candidate.Resource.Kind != "" && (candidate.Resource.String() == asked.String() || candidate.Resource.Answers(name)) {
				return candidate.Resource, nil
			}
		}
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("cannot read which resources are watched", "resource", name, "err", err)
		case first:
			log.Info("waiting for a streamer of the resource", "resource", name)
		}
		select {
		case <-ctx.Done():
			return object.Resource{}, ctx.Err()
		case <-ticker.C:
		}
	}
}

// ended hides the error that comes of being told to stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
