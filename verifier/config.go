package verifier

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// Config is what users set by flags.
type Config struct {
	VerifyEvery time.Duration
	FullEvery   int
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.VerifyEvery, "verify-every", time.Minute, "list this often, ±10 %")
	fs.IntVar(&c.FullEvery, "full-every", 10, "compare bodies too every so many rounds")
}

// Validate returns all faults of the settings, joined.
func (c *Config) Validate() error {
	var faults []error
	if c.VerifyEvery < time.Second {
		faults = append(faults, fmt.Errorf("--verify-every=%v: want at least 1s", c.VerifyEvery))
	}
	if c.FullEvery < 1 {
		faults = append(faults, fmt.Errorf("--full-every=%d: want at least 1", c.FullEvery))
	}
	return errors.Join(faults...)
}

// Options returns the settings for New.
func (c *Config) Options() Options {
	return Options{VerifyEvery: c.VerifyEvery, FullEvery: c.FullEvery}
}
