package apiserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

// Config is what users set by flags.
type Config struct {
	StaleAfter         time.Duration
	InsecureAnyAddress bool
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.StaleAfter, "stale-after", 90*time.Second,
		"how old the stream from the cluster may be before answers carry a warning")
	fs.BoolVar(&c.InsecureAnyAddress, "insecure-any-address", false,
		"allow --listen on an address that others can reach: whoever reaches it reads everything, there is no authentication")
}

// Validate returns all faults of the settings and of the address to listen on,
// joined. listen is the process's --listen.
func (c *Config) Validate(listen string) error {
	var faults []error
	if c.StaleAfter <= 0 {
		faults = append(faults, fmt.Errorf("--stale-after=%v: want more than 0, such as 90s", c.StaleAfter))
	}
	if !c.InsecureAnyAddress {
		if err := CheckLoopback(listen); err != nil {
			faults = append(faults, fmt.Errorf("--listen=%w; others could read everything there without authentication (--insecure-any-address allows it)", err))
		}
	}
	return errors.Join(faults...)
}

// Options returns the settings for New, with the process's registry.
func (c *Config) Options(registry *prometheus.Registry) Options {
	return Options{StaleAfter: c.StaleAfter, Registry: registry}
}

// CheckLoopback fails unless only this machine can reach a server that listens on
// the address, HOST:PORT. Of names it trusts "localhost" alone.
func CheckLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT, such as 127.0.0.1:8080", address)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q: want a loopback address, such as 127.0.0.1:8080", address)
}
