package streamer

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Config is what a user configures of the streamer process.
type Config struct {
	Resources         []string // one Streamer each, as kubectl would accept them
	KeepManagedFields bool     // for the connection to the API server
}

// RegisterFlags adds the flags of the streamer to fs. --resource is shared with
// other processes: if fs has it already, that one stays and Resources is the
// caller's to fill.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	if fs.Lookup("resource") == nil {
		fs.StringSliceVar(&c.Resources, "resource", DefaultResources(), "resource to watch, as kubectl would accept it; may be repeated")
	}
	fs.BoolVar(&c.KeepManagedFields, "keep-managed-fields", false, "keep metadata.managedFields in the objects")
}

// DefaultResources are those that KRM watches unless told otherwise.
func DefaultResources() []string {
	return []string{
		"pods", "nodes", "namespaces", "services", "persistentvolumeclaims",
		"deployments.apps", "ingresses.networking.k8s.io",
	}
}

// Validate returns everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if len(c.Resources) == 0 {
		faults = append(faults, errors.New("--resource: want at least one"))
	}
	seen := make(map[string]bool)
	for _, name := range c.Resources {
		if _, err := object.ParseResource(name); err != nil {
			faults = append(faults, err)
		}
		if seen[name] {
			faults = append(faults, errors.New("--resource "+name+": named twice"))
		}
		seen[name] = true
	}
	return errors.Join(faults...)
}
