package aggregator

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

const defaultLateAfter = 10 * time.Second

// Config is what users set by flags.
type Config struct {
	LateAfter time.Duration
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.LateAfter, "late-after", defaultLateAfter, "adopt a list after so long even if the stream has not reached its version")
}

// Validate returns all faults of the settings.
func (c *Config) Validate() error {
	if c.LateAfter < time.Second {
		return fmt.Errorf("--late-after=%v: want at least 1s", c.LateAfter)
	}
	return nil
}

// Options returns the settings for New.
func (c *Config) Options() Options { return Options{LateAfter: c.LateAfter} }
