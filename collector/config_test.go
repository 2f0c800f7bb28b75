package collector

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/collector/process"
)

// parse reads a command line, and says what is wrong with it.
func parse(args ...string) (Config, error) {
	var c Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName { return pflag.NormalizedName(Normalize(name)) })
	c.RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func TestFlags(t *testing.T) {
	c, err := parse("--model_resolution=1m", "--source", "kubernetes:''", "--sink_export_data_timeout=5s", "--store_label=app", "--store-label=team=owner",
		"--ignore_label=x", "--label_separator=;", "--disable_metric_sink", "--sink=log:?types=pod,node", "--shard=1/3")
	if err != nil {
		t.Fatal(err)
	}
	if c.Resolution != time.Minute || c.SinkTimeout != 5*time.Second {
		t.Errorf("resolution %v, sinks have %v", c.Resolution, c.SinkTimeout)
	}
	labels, err := c.Labels()
	want := process.LabelOptions{Separator: ";", Ignore: []string{"x"}, Store: []process.StoredLabel{{From: "app", As: "app"}, {From: "owner", As: "team"}}}
	if diff := cmp.Diff(want, labels); diff != "" || err != nil {
		t.Errorf("labels: %v %s", err, diff)
	}
	sinks, err := c.ParseSinks()
	if diff := cmp.Diff([]SinkConfig{{Name: SinkLog, Types: []string{"pod", "node"}}}, sinks); diff != "" || err != nil {
		t.Errorf("sinks: %v %s", err, diff)
	}
	if shard, err := c.ParseShard(); shard != (Shard{1, 3}) || err != nil {
		t.Errorf("shard %v, %v", shard, err)
	}
}

func TestFlagDefaults(t *testing.T) {
	c, err := parse()
	if err != nil || c.Resolution != 30*time.Second {
		t.Fatalf("%v, resolution %v", err, c.Resolution)
	}
	clusters, _ := c.Clusters()
	if len(clusters) != 1 || clusters[0].Name != "default" || len(clusters[0].Sources) != 1 || !clusters[0].Sources[0].Cadvisor {
		t.Errorf("clusters %+v", clusters)
	}
	sinks, _ := c.ParseSinks()
	if diff := cmp.Diff([]SinkConfig{{Name: SinkPrometheus}, {Name: SinkRedis}}, sinks); diff != "" {
		t.Error(diff)
	}
	c, _ = parse("--sink=log:")
	sinks, _ = c.ParseSinks()
	if diff := cmp.Diff([]SinkConfig{{Name: SinkLog}, {Name: SinkRedis}}, sinks); diff != "" {
		t.Errorf("the model is fed beside other sinks: %s", diff)
	}
}

func TestClusters(t *testing.T) {
	c, err := parse("--source=dcgm:", "--source=kubernetes.summary_api:?prefix=krm", "--source=kubernetes:?cluster_name=b&prefix=krm-b", "--source=dcgm:?cluster_name=b")
	if err != nil {
		t.Fatal(err)
	}
	clusters, err := c.Clusters()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, cluster := range clusters {
		got = append(got, cluster.Name+" "+cluster.Redis)
		for _, s := range cluster.Sources {
			got = append(got, "  "+s.Prefix)
		}
	}
	// The kubelets come first: they say whether a node has metrics.
	want := []string{"default krm", "  kubernetes.summary_api", "  dcgm", "b krm-b", "  kubernetes", "  dcgm"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFlagFaults(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		_, err := parse(args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one about %q", args, err, want)
		}
	}
	f("--metric-resolution=4s: want whole seconds, at least 5s", "--metric-resolution=4s")
	f("--metric-resolution=7.5s", "--metric_resolution=7500ms")
	f("--scrape-offset=20s", "--scrape-offset=20s")
	f("--scrape-timeout=30s", "--scrape-timeout=30s")
	f("--scrape-parallel=0", "--scrape-parallel=0")
	f("--sink-export-data-timeout=0s", "--sink-export-data-timeout=0")
	f(`--shard="3/3": want I/N`, "--shard=3/3")
	f(`--shard="x"`, "--shard=x")
	f("--store-label", "--store-label=a=b=c")
	f("source not recognized: gcm", "--source=gcm:")
	f("has a source of kubelets already", "--source=kubernetes:", "--source=kubernetes.summary_api:")
	f("another source of cluster \"default\" says prefix=a", "--source=kubernetes:?prefix=a", "--source=dcgm:?prefix=b")
	f("sink not recognized: influxdbb", "--sink=influxdbb:http://x")
	f("log is given twice", "--sink=log:", "--sink=log")
	f("--redis-addr", "--sink=redis:redis://host:6379")
	f("option colour is not known of log", "--sink=log:?colour=red")
	f("option types is not known of prometheus", "--sink=prometheus:?types=pod")
	f("types=pods", "--sink=log:?types=pods")
	f("want prometheus:http://HOST:PORT", "--sink=prometheus:http://localhost")
	// All faults at once.
	f("--scrape-parallel", "--metric-resolution=1s", "--scrape-parallel=0")
	f("--metric-resolution", "--metric-resolution=1s", "--scrape-parallel=0")
}
