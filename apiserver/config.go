package apiserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/billing"
	"github.com/kubernetes-resource-monitor/krm/apiserver/passthrough"
)

// Config is what users set by flags.
type Config struct {
	StaleAfter    time.Duration
	FormCache     int // MiB
	Lists         int
	DisableExport bool
	Auth          auth.Config
	Passthrough   passthrough.Config
	Billing       billing.Config
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.StaleAfter, "stale-after", 90*time.Second,
		"how old the stream from the cluster may be before answers carry a warning")
	fs.IntVar(&c.FormCache, "form-cache", 128,
		"memory in `MiB` for protobuf and compressed forms of objects, which are made once; about 3 KiB a pod are of use")
	fs.IntVar(&c.Lists, "max-lists", 64, "how many lists are answered at a time; more are told to come back (429)")
	fs.BoolVar(&c.DisableExport, "disable-export", false, "answer /api/v1/metric-export with nothing")
	c.Auth.RegisterFlags(fs)
	c.Passthrough.RegisterFlags(fs)
	c.Billing.RegisterFlags(fs)
}

// Validate returns all faults of the settings and of the address to listen on,
// joined. listen is the process's --listen.
func (c *Config) Validate(listen string) error {
	var faults []error
	if c.StaleAfter <= 0 {
		faults = append(faults, fmt.Errorf("--stale-after=%v: want more than 0, such as 90s", c.StaleAfter))
	}
	if c.FormCache < 1 {
		faults = append(faults, fmt.Errorf("--form-cache=%d: want at least 1, in MiB", c.FormCache))
	}
	if c.Lists < 1 {
		faults = append(faults, fmt.Errorf("--max-lists=%d: want at least 1", c.Lists))
	}
	return errors.Join(append(faults, c.Auth.Validate(listen), c.Passthrough.Validate())...)
}

// NeedsKubernetes says whether the server has to reach the API server: to ask who a
// client is and what it may, or to pass on what is not held here.
func (c *Config) NeedsKubernetes() bool {
	return c.Auth.Mode == auth.ModeKubernetes || c.Passthrough.Enabled()
}

// Options returns the settings for New, with the process's registry.
func (c *Config) Options(registry *prometheus.Registry) Options {
	return Options{
		StaleAfter: c.StaleAfter, FormBytes: int64(c.FormCache) << 20, Lists: int64(c.Lists),
		DisableExport: c.DisableExport, Registry: registry,
	}
}
