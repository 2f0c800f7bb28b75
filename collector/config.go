package collector

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/collector/process"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
)

// Config is what users set by flags. The names are those that Heapster's users know;
// Normalize makes their other spellings mean the same.
type Config struct {
	Sources     []string
	Sinks       []string
	Resolution  time.Duration
	Offset      time.Duration
	Timeout     time.Duration
	Parallel    int
	Shard       string
	Separator   string
	StoreLabels []string
	Ignore      []string
	SinkTimeout time.Duration
	NoModel     bool // no Redis sink unless it is named
}

// DefaultSource is what is collected from if no --source is given.
const DefaultSource = "kubernetes:"

// shortest is the shortest resolution: kubelets measure about every ten seconds.
const shortest = 5 * time.Second

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&c.Sources, "source", nil, "`PREFIX:URL?OPTIONS` to collect from: kubernetes:, kubernetes.summary_api: or dcgm:; repeat it for several, with ?cluster_name=NAME for several clusters (default \""+DefaultSource+"\")")
	fs.StringArrayVar(&c.Sinks, "sink", nil, "`NAME:URL?OPTIONS` to write batches to: log, prometheus or influxdb (as --metric-db); repeat it for several (default prometheus); redis, for the model, is always there unless --disable-metric-sink")
	fs.DurationVar(&c.Resolution, "metric-resolution", 30*time.Second, "length of a collection window, at least 5s; windows end at its multiples")
	fs.DurationVar(&c.Offset, "scrape-offset", 0, "from a window's end to its scrape (default 5s, or a sixth of the resolution)")
	fs.DurationVar(&c.Timeout, "scrape-timeout", 0, "how long a node may take to answer (default 20s, or a third of the resolution)")
	fs.IntVar(&c.Parallel, "scrape-parallel", 500, "how many nodes are asked at a time")
	fs.StringVar(&c.Shard, "shard", "", "`I/N`: collect from every node that falls to shard I, from 0, of N collectors")
	fs.StringVar(&c.Separator, "label-separator", ",", "text between the labels of a pod or node in the metric label \"labels\"")
	fs.StringArrayVar(&c.StoreLabels, "store-label", nil, "`NAME` or NEW=NAME: copy this label of pods and nodes into a metric label of its own; repeat it for several")
	fs.StringArrayVar(&c.Ignore, "ignore-label", nil, "`NAME` of a label to leave out of the metric label \"labels\"; repeat it for several")
	fs.DurationVar(&c.SinkTimeout, "sink-export-data-timeout", 20*time.Second, "how long a sink may take for a batch")
	fs.BoolVar(&c.NoModel, "disable-metric-sink", false, "write no batches to Redis, for the model, unless --sink=redis says so")
}

// Normalize is how flags are spelt: with dashes or underscores, and --model-resolution
// is --metric-resolution.
func Normalize(name string) string {
	name = strings.ReplaceAll(name, "_", "-")
	if name == "model-resolution" {
		return "metric-resolution"
	}
	return name
}

// Validate returns all faults of the settings, joined.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Resolution < shortest || c.Resolution%time.Second != 0 {
		fault("--metric-resolution=%v: want whole seconds, at least %v", c.Resolution, shortest)
	}
	schedule := c.Schedule()
	if c.Offset < 0 || schedule.Offset > c.Resolution/2 {
		fault("--scrape-offset=%v: want at most half of --metric-resolution=%v", c.Offset, c.Resolution)
	}
	if c.Timeout < 0 || schedule.Timeout >= c.Resolution {
		fault("--scrape-timeout=%v: want less than --metric-resolution=%v", c.Timeout, c.Resolution)
	}
	if c.Parallel < 1 {
		fault("--scrape-parallel=%d: want at least 1", c.Parallel)
	}
	if c.SinkTimeout <= 0 {
		fault("--sink-export-data-timeout=%v: want more than 0", c.SinkTimeout)
	}
	if _, err := c.ParseShard(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.Labels(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.Clusters(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.ParseSinks(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Schedule says when what is done.
func (c *Config) Schedule() Schedule { return NewSchedule(c.Resolution, c.Offset, c.Timeout) }

// ParseShard reads --shard.
func (c *Config) ParseShard() (Shard, error) {
	if c.Shard == "" {
		return Shard{Index: 0, Count: 1}, nil
	}
	index, count, _ := strings.Cut(c.Shard, "/")
	i, err := strconv.ParseUint(index, 10, 10)
	n, errCount := strconv.ParseUint(count, 10, 10)
	if err != nil || errCount != nil || i >= n {
		return Shard{}, fmt.Errorf("--shard=%q: want I/N with I from 0 to N-1, such as 0/3", c.Shard)
	}
	return Shard{Index: int(i), Count: int(n)}, nil
}

// Labels reads what is said of labels. The host ID's annotation is a source's.
func (c *Config) Labels() (process.LabelOptions, error) {
	options := process.LabelOptions{Separator: c.Separator, Ignore: c.Ignore}
	for _, text := range c.StoreLabels {
		stored, err := process.ParseStoredLabel(text)
		if err != nil {
			return options, fmt.Errorf("--store-label: %w", err)
		}
		options.Store = append(options.Store, stored)
	}
	return options, nil
}

// ClusterConfig is one cluster and what is asked there.
type ClusterConfig struct {
	Name    string
	Redis   string          // the prefix of the KRM that watches the cluster; "" for our own
	Sources []source.Config // that of kubelets first
}

// Clusters reads --source: the clusters in the order in which they come.
func (c *Config) Clusters() ([]ClusterConfig, error) {
	texts := c.Sources
	if len(texts) == 0 {
		texts = []string{DefaultSource}
	}
	var clusters []ClusterConfig
	for _, text := range texts {
		parsed, err := source.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--source: %w", err)
		}
		i := slices.IndexFunc(clusters, func(known ClusterConfig) bool { return known.Name == parsed.Cluster })
		if i < 0 {
			i = len(clusters)
			clusters = append(clusters, ClusterConfig{Name: parsed.Cluster})
		}
		if err := clusters[i].add(parsed); err != nil {
			return nil, fmt.Errorf("--source=%s: %w", text, err)
		}
	}
	return clusters, nil
}

func (c *ClusterConfig) add(parsed source.Config) error {
	if parsed.Redis != "" {
		if c.Redis != "" && c.Redis != parsed.Redis {
			return fmt.Errorf("prefix=%s: another source of cluster %q says prefix=%s", parsed.Redis, c.Name, c.Redis)
		}
		c.Redis = parsed.Redis
	}
	if parsed.Prefix == source.DCGM {
		c.Sources = append(c.Sources, parsed)
		return nil
	}
	if len(c.Sources) > 0 && c.Sources[0].Prefix != source.DCGM {
		return fmt.Errorf("cluster %q has a source of kubelets already: give one of them cluster_name=NAME if they are two clusters", c.Name)
	}
	c.Sources = slices.Insert(c.Sources, 0, parsed)
	return nil
}

// The names of sinks.
const (
	SinkRedis      = "redis"
	SinkLog        = "log"
	SinkPrometheus = "prometheus"
	SinkInflux     = "influxdb"
)

// SinkConfig is one --sink.
type SinkConfig struct {
	Name   string
	Listen string   // of prometheus: HOST:PORT of a listener of its own; "" for the process's
	Types  []string // of log: the types of sets that are written; none means all
	// Database is all of an influxdb sink, influxdb:URL?OPTIONS: internal/metricdb reads it.
	Database string
}

// ParseSinks reads --sink. Redis is added, for the model, unless it is not wanted.
func (c *Config) ParseSinks() (sinks []SinkConfig, err error) {
	for _, text := range c.Sinks {
		one, err := parseSink(text)
		if err != nil {
			return nil, fmt.Errorf("--sink=%s: %w", text, err) // never of influxdb, which may hold a password
		}
		if slices.ContainsFunc(sinks, func(known SinkConfig) bool { return known.Name == one.Name }) {
			return nil, fmt.Errorf("--sink: %s is given twice", one.Name)
		}
		sinks = append(sinks, one)
	}
	if len(sinks) == 0 {
		sinks = append(sinks, SinkConfig{Name: SinkPrometheus})
	}
	if !c.NoModel && !slices.ContainsFunc(sinks, func(s SinkConfig) bool { return s.Name == SinkRedis }) {
		sinks = append(sinks, SinkConfig{Name: SinkRedis})
	}
	return sinks, nil
}

var setTypes = []string{"cluster", "ns", "node", "pod", "pod_container", "sys_container"}

func parseSink(text string) (SinkConfig, error) {
	if strings.HasPrefix(text, SinkInflux+":") {
		return SinkConfig{Name: SinkInflux, Database: text}, nil
	}
	name, at, err := source.ParseURI(text)
	if err != nil {
		return SinkConfig{}, err
	}
	one, accepted := SinkConfig{Name: name}, ""
	switch name {
	case SinkRedis:
		if at.Host != "" {
			return one, errors.New("where Redis is say --redis-addr and the other --redis flags")
		}
	case SinkPrometheus:
		one.Listen = at.Host
		if at.Host != "" && at.Port() == "" {
			return one, errors.New("want prometheus:http://HOST:PORT")
		}
	case SinkLog:
		accepted = "types"
	default:
		return one, fmt.Errorf("sink not recognized: %s: there are %s, %s, %s and %s", name, SinkRedis, SinkLog, SinkPrometheus, SinkInflux)
	}
	for option, values := range at.Query() {
		if option != accepted {
			return one, fmt.Errorf("option %s is not known of %s", option, name)
		}
		for _, value := range values {
			one.Types = append(one.Types, strings.Split(value, ",")...)
		}
	}
	for _, t := range one.Types {
		if !slices.Contains(setTypes, t) {
			return one, fmt.Errorf("types=%s: they are %s", t, strings.Join(setTypes, ", "))
		}
	}
	return one, nil
}
