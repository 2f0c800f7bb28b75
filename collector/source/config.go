package source

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The prefixes of sources.
const (
	Kubernetes = "kubernetes"             // /stats/summary and /metrics/cadvisor
	SummaryAPI = "kubernetes.summary_api" // /stats/summary
	DCGM       = "dcgm"                   // the NVIDIA exporter of each node that has GPUs
)

// DefaultNetworkExclude matches the interfaces of a node that carry its pods'
// traffic a second time, or none.
const DefaultNetworkExclude = `lo|veth.*|cali.*|cni.*|flannel.*|docker.*|br-.*|lxc.*|cilium_.*|kube-ipvs0|nodelocaldns|tunl0|vxlan.*|dummy.*`

// Config is one --source.
type Config struct {
	Prefix  string // Kubernetes, SummaryAPI or DCGM
	Cluster string // cluster_name; "default"
	// Redis is the prefix of the KRM whose snapshots have the cluster's objects (option
	// "prefix"); "" if the option was not given.
	Redis string

	// Server is scheme://host[:port] of the cluster's API server, "" for the usual one;
	// of a dcgm source, the one exporter that is asked of all nodes.
	Server string
	// InCluster says that pod's service account is used, on Server or the usual
	// address; else Auth, a kubeconfig, whose server is used; else Server, anonymously.
	InCluster         bool
	Auth              string
	UseServiceAccount bool // its token, although InCluster is false
	Insecure          bool // no certificate is checked, neither the API server's nor kubelets'

	KubeletPort        int // 0: what the node's status says, else 10250
	KubeletHTTPS       bool
	KubeletInsecureTLS bool
	KubeletCAFile      string
	KubeletServerName  string   // the name that kubelets' certificates are checked for; "" for the address
	AddressTypes       []string // in order of preference; none: InternalIP, ExternalIP
	Cadvisor           bool     // /metrics/cadvisor too
	HostIDAnnotation   string   // of nodes; "" for their provider ID

	// NetworkExclude matches whole names of a node's interfaces that are left out of sums.
	NetworkExclude *regexp.Regexp

	Port         int    // of a DCGM exporter
	NodeSelector string // of nodes that have a DCGM exporter; "" for those with a resource of nvidia.com

	// Warnings are for the log: what was given and does not do what its giver may think.
	Warnings []string
}

// Parse reads a --source, PREFIX:CONFIG[?OPTIONS]. Of CONFIG only scheme, host and
// port count. An option that is not known is an error.
func Parse(flag string) (Config, error) {
	prefix, config, err := ParseURI(flag)
	if err != nil {
		return Config{}, fmt.Errorf("parse source %q: %w", flag, err)
	}
	c := Config{
		Prefix: prefix, Cluster: "default", InCluster: true, KubeletHTTPS: true,
		NetworkExclude: regexp.MustCompile(wholly(DefaultNetworkExclude)),
	}
	var accepted []option
	switch prefix {
	case Kubernetes, SummaryAPI:
		c.Cadvisor = prefix == Kubernetes
		accepted = c.kubernetesOptions()
	case DCGM:
		c.Port = 9400
		accepted = c.dcgmOptions()
	default:
		return Config{}, fmt.Errorf("source not recognized: %s: the prefixes are %s, %s and %s", prefix, Kubernetes, SummaryAPI, DCGM)
	}
	if err := c.read(config, accepted); err != nil {
		return Config{}, fmt.Errorf("parse source %q: %w", flag, err)
	}
	return c, nil
}

// option is one that a source takes.
type option struct {
	name string
	set  func(value string) error
}

func (c *Config) kubernetesOptions() []option {
	return append(
		c.clusterOptions(),
		option{"insecure", boolean(&c.Insecure)},
		option{"apiVersion", func(string) error {
			c.warn("apiVersion does nothing any more: take it away")
			return nil
		}},
		option{"kubeletPort", port(&c.KubeletPort)},
		option{"kubeletHttps", boolean(&c.KubeletHTTPS)},
		option{"kubeletInsecureTLS", boolean(&c.KubeletInsecureTLS)},
		option{"kubeletCAFile", text(&c.KubeletCAFile)},
		option{"kubeletServerName", text(&c.KubeletServerName)},
		option{"kubeletPreferredAddressTypes", addressTypes(&c.AddressTypes)},
		option{"cadvisor", boolean(&c.Cadvisor)},
		option{"host_id_annotation", text(&c.HostIDAnnotation)},
		option{"networkExclude", c.excludeNetworks},
	)
}

func (c *Config) dcgmOptions() []option {
	return append(
		c.clusterOptions(),
		option{"insecure", boolean(&c.Insecure)},
		option{"port", port(&c.Port)},
		option{"nodeSelector", c.setSelector},
		option{"kubeletPreferredAddressTypes", addressTypes(&c.AddressTypes)},
	)
}

// clusterOptions are those that say which cluster, and how its objects are had.
func (c *Config) clusterOptions() []option {
	return []option{
		{"cluster_name", c.setCluster},
		{"prefix", text(&c.Redis)},
		{"inClusterConfig", boolean(&c.InCluster)},
		{"auth", text(&c.Auth)},
		{"useServiceAccount", boolean(&c.UseServiceAccount)},
	}
}

func (c *Config) read(config *url.URL, accepted []option) error {
	query, err := url.ParseQuery(config.RawQuery)
	if err != nil {
		return fmt.Errorf("read the options: %w", err)
	}
	for name, values := range query {
		i := slices.IndexFunc(accepted, func(o option) bool { return o.name == name })
		if i < 0 {
			return fmt.Errorf("option %s is not known: %s takes %s", name, c.Prefix, names(accepted))
		}
		if len(values) > 1 {
			return fmt.Errorf("option %s is given %d times", name, len(values))
		}
		if err := accepted[i].set(values[0]); err != nil {
			return fmt.Errorf("option %s=%s: %w", name, values[0], err)
		}
	}
	return c.check(config, query)
}

// check looks at what belongs together.
func (c *Config) check(config *url.URL, given url.Values) error {
	if config.Host != "" {
		if config.Scheme != "http" && config.Scheme != "https" {
			return fmt.Errorf("%s is no URL of http or https", config)
		}
		c.Server = config.Scheme + "://" + config.Host
	} else if config.Scheme != "" || strings.Trim(config.Path, "/") != "" {
		return fmt.Errorf("%s has no host: write it as https://host:port", config)
	}
	if c.Prefix == DCGM {
		return nil
	}
	if !c.InCluster && c.Auth == "" && c.Server == "" {
		return errors.New("invalid kubernetes master url specified: inClusterConfig=false needs a URL, or auth=KUBECONFIG")
	}
	if c.InCluster && c.Auth != "" {
		c.warn("auth is read only with inClusterConfig=false: add that, or take auth away")
	}
	if c.KubeletPort == 10255 {
		c.warn("nothing listens on a kubelet's port 10255 any more: take kubeletPort away, and grant get on nodes/stats")
	}
	if !c.KubeletHTTPS {
		c.warn("kubelets are asked over plain HTTP, and without a token: for tests only")
	}
	if c.Insecure {
		c.warn("insecure=true: no certificate is checked, neither the API server's nor kubelets'")
	}
	if c.KubeletInsecureTLS {
		c.warn("kubeletInsecureTLS=true: kubelets' certificates are not checked, and who answers in a kubelet's place gets our token")
	}
	if (c.Insecure || c.KubeletInsecureTLS) && c.KubeletCAFile != "" {
		c.warn("kubeletCAFile does nothing while certificates are not checked")
	}
	if given.Has("networkExclude") && c.NetworkExclude == nil {
		c.warn("networkExclude is empty: a node's network is the sum of all its interfaces")
	}
	return nil
}

func (c *Config) warn(text string) { c.Warnings = append(c.Warnings, text) }

// clusterName is what a cluster may be called: it becomes a part of URLs and keys.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func (c *Config) setCluster(name string) error {
	if !clusterName.MatchString(name) {
		return errors.New("a cluster's name has up to 63 letters, digits, dots, dashes and underscores, and begins and ends with a letter or a digit")
	}
	c.Cluster = name
	return nil
}

func (c *Config) setSelector(value string) error {
	c.NodeSelector = value
	_, err := selectorOf(value)
	return err
}

func (c *Config) excludeNetworks(pattern string) error {
	c.NetworkExclude = nil
	if pattern == "" {
		return nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return err
	}
	c.NetworkExclude = regexp.MustCompile(wholly(pattern))
	return nil
}

// wholly makes a pattern match names from end to end.
func wholly(pattern string) string { return `^(?:` + pattern + `)$` }

func text(to *string) func(string) error {
	return func(value string) error {
		*to = value
		return nil
	}
}

func boolean(to *bool) func(string) error {
	return func(value string) (err error) {
		*to, err = strconv.ParseBool(value)
		if err != nil {
			return errors.New("write true or false")
		}
		return nil
	}
}

func port(to *int) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 {
			return errors.New("a port is a number from 1 to 65535")
		}
		*to = int(n)
		return nil
	}
}

// knownAddressTypes are those of node addresses.
var knownAddressTypes = []string{"InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"}

func addressTypes(to *[]string) func(string) error {
	return func(value string) error {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if !slices.Contains(knownAddressTypes, one) {
				return fmt.Errorf("%q is no type of address: they are %s", one, strings.Join(knownAddressTypes, ", "))
			}
			*to = append(*to, one)
		}
		return nil
	}
}

func names(options []option) string {
	var all []string
	for _, o := range options {
		all = append(all, o.name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
