// Package passthrough sends to the API server what KRM does not hold, with the
// credentials of whoever asks and never with KRM's own. The API server decides
// what the caller may.
package passthrough

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// The modes of --passthrough.
const (
	ModeNone  = "none"
	ModeReads = "reads"
	ModeAll   = "all"
)

// Config is what users set by flags.
type Config struct {
	Mode string // one of the modes above
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Mode, "passthrough", ModeNone,
		"what KRM does not hold and sends to the API server with the caller's own token: none, reads (GET, logs too) or all (writes, exec, port-forward)")
}

// Validate returns the fault of the settings.
func (c *Config) Validate() error {
	modes := []string{ModeNone, ModeReads, ModeAll}
	if !slices.Contains(modes, c.Mode) {
		return fmt.Errorf("--passthrough=%q: want one of %s", c.Mode, strings.Join(modes, ", "))
	}
	return nil
}

// Enabled says whether anything passes through.
func (c *Config) Enabled() bool { return c.Mode == ModeReads || c.Mode == ModeAll }
