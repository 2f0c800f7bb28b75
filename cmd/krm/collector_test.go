package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/collector/source"
)

func TestOneDashIsEnough(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		if diff := cmp.Diff(strings.Fields(want), doubleDashes(strings.Fields(line))); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
	f("collector -model_resolution=30s -source kubernetes: --sink=log:", "collector --model_resolution=30s --source kubernetes: --sink=log:")
	f("standalone -metric_resolution 1m -h", "standalone --metric_resolution 1m -h")
	f("get pods -sink", "get pods -sink") // other commands have short flags
	f("collector -nosuch", "collector -nosuch")
	f("", "")
}

// A command line of the original is taken whole.
func TestHeapsterFlags(t *testing.T) {
	var flags collectorFlags
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SetNormalizeFunc(newRootCommand().GlobalNormalizationFunc())
	flags.register(fs)
	err := fs.Parse([]string{
		"--source=kubernetes.summary_api:''", "--metric_resolution=60s", "--heapster-port=9999", "--listen_ip=127.0.0.2",
		"--tls_cert=x", "--tls_key=y", "--tls_client_ca=z", "--allowed_users=a", "--historical_source=influxdb:", "--disable_export", "--api-server=true",
		"--label_separator=;", "--sink_export_data_timeout=20s", "--disable_metric_sink", "--max_procs=0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := flags.validate(); err != nil {
		t.Fatal(err)
	}
	if flags.process.Listen != "127.0.0.2:9999" {
		t.Errorf("listen on %s", flags.process.Listen)
	}
}

func TestCollectorUsage(t *testing.T) {
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := execute(t.Context(), append([]string{"collector"}, args...), &out, &errs); got != code || !strings.Contains(out.String()+errs.String(), want) {
			t.Errorf("%v: exit %d, %s%s; want %d and %q", args, got, out.String(), errs.String(), code, want)
		}
	}
	f(2, "--metric-resolution=1s: want whole seconds, at least 5s", "--model_resolution=1s")
	f(2, "option colour is not known", "--source=kubernetes:?colour=red")
	f(2, "--insecure-any-address", "--listen_ip=0.0.0.0")
	f(0, "version", "--version")
	f(0, "--metric-resolution", "--help")
	f(0, "$KRM_SOURCE", "--help")
}

func TestAccessOfSources(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := `{"clusters":[{"name":"a","cluster":{"server":"https://other"}}],"users":[{"name":"a","user":{"token":"theirs"}}],"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"current-context":"a"}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := &rest.Config{Host: "https://own", BearerToken: "ours", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca"), CertData: []byte("cert"), KeyData: []byte("key")}}
	f := func(flag string, api *rest.Config, want source.Access, server string) {
		t.Helper()
		config, err := source.Parse(flag)
		if err != nil {
			t.Fatal(err)
		}
		access, err := accessOf(config, api)
		if diff := cmp.Diff(want, access); diff != "" || err != nil {
			t.Errorf("%s: %v %s", flag, err, diff)
		}
		reached, err := apiOf(config, api)
		switch {
		case server == "" && err == nil:
			t.Errorf("%s: the API server is %s, want an error", flag, reached.Host)
		case server != "" && (err != nil || reached.Host != server):
			t.Errorf("%s: the API server is %v (%v), want %s", flag, reached, err, server)
		}
		if reached != nil && config.Insecure != reached.Insecure {
			t.Errorf("%s: insecure %v", flag, reached.Insecure)
		}
	}
	ours := source.Access{Token: "ours", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}
	f("kubernetes:", own, ours, "https://own")
	f("kubernetes:https://elsewhere:6443", own, ours, "https://elsewhere:6443")
	f("kubernetes:?insecure=true", own, ours, "https://own")
	f("kubernetes:", nil, source.Access{}, "")
	f("kubernetes:?inClusterConfig=false&auth="+kubeconfig, own, source.Access{Token: "theirs"}, "https://other")
	f("kubernetes:http://anonymous:8080?inClusterConfig=false", own, source.Access{}, "http://anonymous:8080")
	if own.Insecure || own.Host != "https://own" {
		t.Error("our own settings were changed")
	}
	config, err := source.Parse("kubernetes:?inClusterConfig=false&auth=/no/such/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accessOf(config, own); err == nil {
		t.Error("no error of a kubeconfig that is not there")
	}
}

func TestIgnoredFlagsAreHidden(t *testing.T) {
	fs := newCollectorCommand().Flags()
	for _, name := range ignoredFlags {
		if flag := fs.Lookup(name); flag == nil || !flag.Hidden {
			t.Errorf("--%s: %v", name, flag)
		}
	}
	if slices.Contains(ignoredFlags, "max-procs") {
		t.Error("it does something")
	}
}
