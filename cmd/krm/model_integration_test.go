//go:build integration

package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What kubectl makes of KRM's metrics when KRM is its server.
func TestKubectlTop(t *testing.T) {
	built, err := exec.CommandContext(t.Context(), "../../hack/kubectl.sh", "build").Output()
	if err != nil {
		t.Fatalf("build kubectl: %v", err)
	}
	s := newMetricsSite(t)
	s.collect(t, 250)
	s.get(t, "/apis", `metrics.k8s.io`)
	f := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"--kubeconfig=/dev/null", "--cache-dir=" + t.TempDir(), "--server=" + s.url}, args...)
		out, err := exec.CommandContext(t.Context(), strings.TrimSpace(string(built)), args...).CombinedOutput()
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("kubectl %v: %v: %s, want %s", args[3:], err, out, want)
		}
	}
	f(`(?m)^shop +web-1 +250m +64Mi *$`, "top", "pods", "-A")
	f(`(?m)^web-1 +app +250m +64Mi *$`, "top", "pods", "-n", "shop", "--containers")
	f(`(?m)^shop +web-1 +250m +65536Ki +30s *$`, "get", "pods.metrics.k8s.io", "-A")
	f(`(?m)^node-1 +250m +65536Ki +30s *$`, "get", "nodes.metrics.k8s.io")
	f(`(?m)^  cpu: 250m$`, "get", "nodes.metrics.k8s.io", "node-1", "-o", "yaml")
	f(`(?m)^nodes +metrics.k8s.io/v1 +false +NodeMetrics *$`, "api-resources")
}
