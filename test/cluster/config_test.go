package main

import (
	"net"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestPlanWorkload(t *testing.T) {
	for _, pods := range []int{1, 2, 7, 8, 50, 51, 300, 999, 1600, 10_000} {
		plan := planWorkload(pods)
		total, names := 0, map[string]bool{}
		var ingress, volume bool
		for _, a := range plan.apps {
			if a.replicas < 1 {
				t.Errorf("%d pods: %s/%s has %d", pods, a.namespace, a.name, a.replicas)
			}
			if key := a.namespace + "/" + a.name; names[key] {
				t.Errorf("%d pods: two deployments %s", pods, key)
			} else {
				names[key] = true
			}
			total += a.replicas
			ingress, volume = ingress || a.ingress, volume || a.volume
		}
		if total != pods || !ingress || !volume {
			t.Errorf("%d pods: planned %d, some ingress %v, some volume %v", pods, total, ingress, volume)
		}
	}
	if got := planWorkload(0); len(got.apps)+len(got.namespaces) != 0 {
		t.Errorf("no pods: planned %v", got)
	}
}

func TestUpConfig(t *testing.T) {
	f := func(args, fault string) { // an empty fault means: valid
		t.Helper()
		var cfg UpConfig
		fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
		cfg.RegisterFlags(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := cfg.Validate()
		if (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: got error %v, want %q", args, err, fault)
		}
	}
	f("--dir=x", "")
	f("--dir=x --nodes=0", "")
	f("--dir=x --nodes=5 --pods=300 --apiserver-port=6443", "")
	f("--dir=x --address=10.98.0.1", "")
	f("--dir=x --address=here", "--address=here")
	f("", "--dir")
	f("--dir=x --nodes=0 --pods=1", "pods need nodes")
	f("--dir=x --nodes=-1", "--nodes=-1")
	f("--dir=x --etcd-port=70000", "--etcd-port=70000")
	f("--dir=x --nodes=10 --kubelet-port=65530", "--kubelet-port")
}

func TestChoosePorts(t *testing.T) {
	taken, err := listen(loopback, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := taken.Addr().(*net.TCPAddr).Port

	first, err := choosePorts(Ports{}, Ports{})
	if err != nil {
		t.Fatal(err)
	}
	if first.APIServer == first.EtcdClient || first.EtcdClient == first.EtcdPeer || first.APIServer == first.EtcdPeer {
		t.Errorf("ports are not distinct: %+v", first)
	}
	if again, err := choosePorts(Ports{}, first); err != nil || again != first {
		t.Errorf("free ports of the last run: got %+v, %v, want %+v", again, err, first)
	}
	if other, err := choosePorts(Ports{}, Ports{APIServer: used}); err != nil || other.APIServer == used {
		t.Errorf("a taken port of the last run: got %+v, %v", other, err)
	}
	if _, err := choosePorts(Ports{APIServer: used}, Ports{}); err == nil || !strings.Contains(err.Error(), "--apiserver-port") {
		t.Errorf("a taken port that was asked for: got error %v", err)
	}
}

func TestOneClusterPerDir(t *testing.T) {
	d, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if d.running() {
		t.Error("running before it was locked")
	}
	lock, err := d.lock()
	if err != nil {
		t.Fatal(err)
	}
	if !d.running() {
		t.Error("not running though locked")
	}
	if _, err := d.lock(); err == nil {
		t.Error("locked twice")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if d.running() {
		t.Error("running after it was unlocked")
	}
}
