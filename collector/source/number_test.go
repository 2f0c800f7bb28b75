package source

import (
	"math"
	"regexp"
	"testing"
	"time"
)

func TestSecondUTC(t *testing.T) {
	for day := range 365 * 290 {
		at := time.Unix(int64(day)*86400+int64(day)%86400, 0).UTC()
		if got, ok := secondUTC([]byte(at.Format(time.RFC3339))); !ok || got != at.UnixNano() {
			t.Fatalf("%v is %d, %v, want %d", at, got, ok, at.UnixNano())
		}
	}
	for _, not := range []string{
		"", "2026-11-21T17:10:20+00:00", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
		"202a-01-01T00:00:00Z", "2026-01-01 00:00:00Z", "1969-12-31T23:59:59Z", "2262-01-01T00:00:00Z",
	} {
		if got, ok := secondUTC([]byte(not)); ok {
			t.Errorf("%q is taken for %d", not, got)
		}
	}
}

func TestWhole(t *testing.T) {
	f := func(in float64, want int64, wantOK bool) {
		t.Helper()
		if got, ok := whole(in); got != want || ok != wantOK {
			t.Errorf("%v is %d, %v", in, got, ok)
		}
	}
	f(0, 0, true)
	f(1.6, 2, true)
	f(-1, 0, false)
	f(math.NaN(), 0, false)
	f(math.Inf(1), 0, false)
	f(1<<63, 0, false)
	f(1<<62, 1<<62, true)
	if _, ok := addUp(math.MaxInt64, 1); ok {
		t.Error("a sum runs over")
	}
}

func TestDefaultNetworkExclude(t *testing.T) {
	out := regexp.MustCompile(wholly(DefaultNetworkExclude))
	for name, excluded := range map[string]bool{
		"lo": true, "veth12ab": true, "cali0": true, "cni0": true, "flannel.1": true, "docker0": true, "br-1": true, "lxc7": true, "cilium_host": true,
		"kube-ipvs0": true, "nodelocaldns": true, "tunl0": true, "vxlan.calico": true, "dummy0": true,
		"eth0": false, "ens5": false, "enp1s0": false, "bond0": false, "lo1": false, "wlan0": false, "br0": false, "xveth": false,
	} {
		if out.MatchString(name) != excluded {
			t.Errorf("%s: excluded is %v", name, !excluded)
		}
	}
}

// BenchmarkExclude is the cost of one interface on a node without eth0.
func BenchmarkExclude(b *testing.B) {
	out := regexp.MustCompile(wholly(DefaultNetworkExclude))
	name := []byte("veth12ab34cd")
	for b.Loop() {
		out.Match(name)
	}
}
