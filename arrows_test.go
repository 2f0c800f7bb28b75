// Package krm_test checks what holds for the whole tree.
package krm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kubernetes-resource-monitor/krm"

// mayImport is the table of docs/design/house.md: which of our packages each may
// reach, directly or not. What stands below a listed package belongs to it.
var mayImport = map[string][]string{
	"internal/object":            {},
	"internal/kube":              {"internal/object"},
	"internal/logfile":           {},
	"internal/store":             {"internal/object"},
	"internal/mirror":            {"internal/object"},
	"internal/wire":              {"internal/object"},
	"internal/metrics":           {"internal/object"},
	"internal/metricdb":          {"internal/metrics", "internal/object"},
	"internal/metricdb/connect":  {"internal/metricdb", "internal/metricdb/embedded", "internal/metricdb/influx", "internal/metrics", "internal/object"},
	"internal/metricdb/dbtest":   {"internal/metricdb", "internal/metrics", "internal/object"},
	"internal/metricdb/embedded": {"internal/metricdb", "internal/metrics", "internal/object"},
	"internal/metricdb/influx":   {"internal/metricdb", "internal/metrics", "internal/object"},
	"internal/metricdb/lifetime": {"internal/metricdb", "internal/metrics", "internal/object"},
	"internal/metricdb/rollup":   {"internal/metricdb", "internal/metricdb/lifetime", "internal/metrics", "internal/object"},
	"streamer":                   {"internal/object"},
	"verifier":                   {"internal/object"},
	"aggregator":                 {"internal/object"},
	"collector": {
		"collector/objects", "collector/process", "collector/sink", "collector/source",
		"internal/object", "internal/metrics",
	},
	"collector/objects": {"internal/object", "internal/metrics"},
	"collector/process": {"collector/objects", "internal/object", "internal/metrics"},
	"collector/sink":    {"internal/object", "internal/metrics"},
	"collector/source":  {"collector/objects", "internal/object", "internal/metrics"},
	"apiserver": {
		"apiserver/auth", "apiserver/billing", "apiserver/discovery", "apiserver/headers", "apiserver/kubeapi", "apiserver/kubeapi/field", "apiserver/model", "apiserver/passthrough",
		"internal/object", "internal/metricdb", "internal/metricdb/lifetime", "internal/metricdb/rollup", "internal/metrics", "internal/mirror", "internal/wire",
	},
	"apiserver/auth":          {},
	"apiserver/discovery":     {"apiserver/headers", "internal/object"},
	"apiserver/headers":       {},
	"apiserver/kubeapi":       {"apiserver/headers", "apiserver/kubeapi/field", "internal/object", "internal/mirror", "internal/wire"},
	"apiserver/kubeapi/field": {"internal/object"},
	"apiserver/billing":       {"apiserver/headers", "apiserver/kubeapi", "apiserver/kubeapi/field", "internal/mirror", "internal/wire", "internal/metricdb", "internal/metricdb/lifetime", "internal/metricdb/rollup", "internal/metrics", "internal/object"},
	"apiserver/model":         {"apiserver/headers", "apiserver/kubeapi", "apiserver/kubeapi/field", "internal/object", "internal/metricdb", "internal/metrics", "internal/mirror", "internal/wire"},
	"apiserver/passthrough":   {"apiserver/auth"},
	"client":                  {},
}

// only names the packages that may reach a library.
var only = map[string][]string{
	"github.com/influxdata/influxdb-client-go": {"internal/metricdb/influx"},
	"go.etcd.io/bbolt":                         {"internal/metricdb/embedded"},
	"github.com/DeRuina/timberjack":            {"internal/logfile"},
	"github.com/redis/go-redis":                {"internal/store"},
	"k8s.io/client-go/rest":                    {"internal/kube", "client"}, // client makes settings for it, and sends nothing
	"k8s.io/client-go/kubernetes/scheme":       {"internal/kube", "internal/wire"},
}

type listed struct {
	ImportPath string
	Deps       []string
}

func TestImportsFollowTheArrows(t *testing.T) {
	seen := map[string]bool{}
	for _, pkg := range packages(t) {
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		allowed, known := mayImport[name]
		if !known {
			if name != "cmd/krm" && strings.HasPrefix(pkg.ImportPath, module+"/") {
				t.Errorf("%s is in no row of the table: say here and in docs/design/house.md what it may import", name)
			}
			continue
		}
		seen[name] = true
		for _, dep := range pkg.Deps {
			ours, isOurs := strings.CutPrefix(dep, module+"/")
			if isOurs && ours != name && !slices.Contains(allowed, ours) {
				t.Errorf("%s reaches %s; it may reach %v only", name, ours, allowed)
			}
			for library, owners := range only {
				if strings.HasPrefix(dep, library) && !mayReach(name, owners) {
					t.Errorf("%s reaches %s, which belongs to %v", name, dep, owners)
				}
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("%s stands in the table, but there is no such package", name)
		}
	}
}

// mayReach says whether name is one of the owners, or may import one.
func mayReach(name string, owners []string) bool {
	return slices.ContainsFunc(owners, func(owner string) bool { return owner == name || slices.Contains(mayImport[name], owner) })
}

// TestPlantedFault fails when it is told to, so that hack/gotest.sh can show that a
// failing test fails its suite.
func TestPlantedFault(t *testing.T) {
	if os.Getenv("KRM_PLANT_FAULT") != "" {
		t.Fatal("planted")
	}
}

// packages lists our packages without their tests.
func packages(t *testing.T) (pkgs []listed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps=false", "-json=ImportPath,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg listed
		switch err := decoder.Decode(&pkg); {
		case errors.Is(err, io.EOF):
			return pkgs
		case err != nil:
			t.Fatal(err)
		}
		if pkg.ImportPath != module {
			pkgs = append(pkgs, pkg)
		}
	}
}
