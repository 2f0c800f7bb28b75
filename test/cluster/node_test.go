package main

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

func parseNode(t *testing.T, args string) NodeConfig {
	t.Helper()
	var cfg NodeConfig
	fs := pflag.NewFlagSet("node", pflag.ContinueOnError)
	cfg.RegisterFlags(fs)
	if err := fs.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestNodeConfig(t *testing.T) {
	f := func(args, fault string) { // an empty fault means: valid
		t.Helper()
		cfg := parseNode(t, args)
		err := cfg.Validate()
		if (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: got error %v, want %q", args, err, fault)
		}
	}
	f("--address=10.98.0.2", "")
	f("", "--address=")
	f("--address=127.0.0.1", "--address=127.0.0.1")
	f("--address=10.98.0.2 --name=", "--name")
	f("--address=10.98.0.2 --port=0", "--port=0")
	f("--address=10.98.0.2 --runtime=sock", "--runtime")
	f("--address=10.98.0.2 --cgroup-root=krm", "--cgroup-root")
}

func TestPrepareNode(t *testing.T) {
	d, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := makePKI(d, loopback); err != nil {
		t.Fatal(err)
	}
	cfg := parseNode(t, "--address=10.98.0.2 --name=real-1 --cgroup-root=/krm")
	if err := prepareNode(d, cfg, "kubelet-real-1", "https://10.98.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, d, "kubelet-real-1")
	if leaf.Subject.CommonName != "system:node:real-1" || len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "system:nodes" {
		t.Errorf("the node is %s", leaf.Subject)
	}
	for _, host := range []string{"10.98.0.2", "real-1"} {
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots: authoritiesOf(t, d, "ca"), DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err != nil {
			t.Errorf("as a server on %s: %v", host, err)
		}
	}
	text, err := os.ReadFile(d.conf("kubelet-real-1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Kind, Address, CgroupRoot, KubeletCgroups string
		Authentication                            struct{ Anonymous struct{ Enabled *bool } }
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if config.Kind != "KubeletConfiguration" || config.Address != "10.98.0.2" || config.CgroupRoot != "/krm" || config.KubeletCgroups != "/krm/kubelet" {
		t.Errorf("got %+v", config)
	}
	if config.Authentication.Anonymous.Enabled == nil || *config.Authentication.Anonymous.Enabled {
		t.Error("the kubelet lets anybody in")
	}
}
