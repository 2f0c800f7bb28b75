package kube

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Flags says which API server to use.
type Flags struct {
	Kubeconfig string // path; "" searches as Config says
	Context    string // of the kubeconfig; "" is its current one
}

// RegisterFlags adds f's flags to fs, with the defaults.
func (f *Flags) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, then ~/.kube/config, then the service account of the pod)")
	fs.StringVar(&f.Context, "context", "", "context of the kubeconfig (default its current one)")
}

// Validate joins all faults of f. It reads no file: Config does.
func (f *Flags) Validate() error { return nil }

// Config is Config with f's fields.
func (f *Flags) Config() (*rest.Config, error) { return Config(f.Kubeconfig, f.Context) }

// Config finds the API server as kubectl does: the file kubeconfig if it is
// given, else the files in $KUBECONFIG, else ~/.kube/config, else the service
// account of the pod that we run in. context chooses one of the file's contexts.
//
// A file that is named but missing, or that exists but is broken, is an error
// that names it: nothing further is tried, so that a mistake never leads to
// another cluster. If there is nothing to try the error names what was looked for.
func Config(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig != "" {
		return loadConfig("--kubeconfig", []string{kubeconfig}, context)
	}
	if list := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); list != "" {
		return loadConfig("$KUBECONFIG", filepath.SplitList(list), context)
	}
	home, homeErr := os.UserHomeDir()
	file := filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)
	if homeErr == nil {
		if _, err := os.Stat(file); err == nil || !errors.Is(err, os.ErrNotExist) {
			return loadConfig("the user's kubeconfig", []string{file}, context)
		}
	} else {
		file = "~/.kube/config (" + homeErr.Error() + ")"
	}
	if context != "" {
		return nil, fmt.Errorf("find the API server: --context=%s needs a kubeconfig, but --kubeconfig and $KUBECONFIG are not set and there is no %s", context, file)
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, fmt.Errorf("find the API server: --kubeconfig and $KUBECONFIG are not set, there is no %s, and this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set)", file)
	}
	if err != nil {
		return nil, fmt.Errorf("use the pod's service account: %w", err)
	}
	return config, nil
}

// loadConfig merges files as kubectl does; missing ones do not count as long as one is there.
func loadConfig(origin string, files []string, context string) (*rest.Config, error) {
	names := strings.Join(files, ", ")
	found := make([]string, 0, len(files))
	for _, file := range files {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err == nil {
			found = append(found, file)
		} else if !errors.Is(err, os.ErrNotExist) || len(files) == 1 {
			return nil, fmt.Errorf("read %s: %w", origin, err)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read %s: none of its files exists: %s", origin, names)
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: found}
	loaded, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", origin, names, err)
	}
	if err := checkContext(loaded, context); err != nil {
		return nil, fmt.Errorf("use %s %s: %w", origin, names, err)
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, context, overrides, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("use %s %s: %w", origin, names, err)
	}
	return config, nil
}

// checkContext finds what client-go would pass over: it would take another server
// or send no credentials.
func checkContext(config *clientcmdapi.Config, context string) error {
	names := make([]string, 0, len(config.Contexts))
	for name := range config.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)
	has := "it has none"
	if len(names) > 0 {
		has = "it has " + strings.Join(names, ", ")
	}
	if context == "" {
		context = config.CurrentContext
	}
	chosen := config.Contexts[context]
	switch {
	case context == "":
		return fmt.Errorf("no context is current, choose one with --context: %s", has)
	case chosen == nil:
		return fmt.Errorf("there is no context %q: %s", context, has)
	case config.Clusters[chosen.Cluster] == nil:
		return fmt.Errorf("context %q is of cluster %q, and there is no such cluster", context, chosen.Cluster)
	case chosen.AuthInfo != "" && config.AuthInfos[chosen.AuthInfo] == nil:
		return fmt.Errorf("context %q is of user %q, and there is no such user", context, chosen.AuthInfo)
	}
	return nil
}
