package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://one:6443"}}, {name: two, cluster: {server: "https://two:6443"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: a, context: {cluster: one, user: u}}, {name: b, context: {cluster: two, user: u}}, {name: c, context: {cluster: gone, user: u}}]
current-context: a
`

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", kubeconfig)
	bad := file("bad", "{")
	none := file("none", "apiVersion: v1\nkind: Config\n")
	empty := file("empty", "")
	noCA := file("noca", strings.Replace(kubeconfig, `"https://one:6443"`, `"https://one:6443", certificate-authority: /nowhere/ca.crt`, 1))
	missing := filepath.Join(dir, "missing")
	home := filepath.Join(dir, "home")
	withHome := filepath.Dir(filepath.Dir(file("full/.kube/config", kubeconfig)))
	badHome := filepath.Dir(filepath.Dir(file("broken/.kube/config", "{")))

	f := func(flag, env, home, context, want string, others ...string) {
		t.Helper()
		t.Setenv("KUBECONFIG", env)
		t.Setenv("HOME", home)
		t.Setenv("KUBERNETES_SERVICE_HOST", "")
		config, err := Config(flag, context)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = config.Host
		}
		for _, part := range append(others, want) {
			if !strings.Contains(got, part) {
				t.Errorf("got %s, want %s", got, part)
			}
		}
	}
	f(good, "", home, "", "https://one:6443")
	f(good, "", home, "b", "https://two:6443")
	f(good, bad, badHome, "", "https://one:6443") // the first that is set counts
	f("", good, badHome, "", "https://one:6443")
	f("", missing+":"+good, home, "b", "https://two:6443")
	f("", "", withHome, "b", "https://two:6443")

	f(missing, good, withHome, "", "read --kubeconfig: stat "+missing+": no such file or directory")
	f("", missing, withHome, "", "read $KUBECONFIG: stat "+missing+": no such file")
	f("", missing+":"+missing+"2", withHome, "", "read $KUBECONFIG: none of its files exists: "+missing)
	f(bad, "", home, "", "read --kubeconfig "+bad+": ")
	f("", "", badHome, "", "read the user's kubeconfig "+badHome+"/.kube/config: ")
	f(none, "", home, "", "use --kubeconfig "+none+": no context is current, choose one with --context: it has none")
	f(empty, "", home, "", "no context is current")
	f(good, "", home, "z", `use --kubeconfig `+good+`: there is no context "z": it has a, b, c`)
	f(good, "", home, "c", "use --kubeconfig "+good+": ", "gone")
	f(noCA, "", home, "", "use --kubeconfig "+noCA+": ", "/nowhere/ca.crt")
	f("", "", home, "", "find the API server: --kubeconfig and $KUBECONFIG are not set, there is no "+home+"/.kube/config, and this is no pod of a cluster")
	f("", "", home, "b", "--context=b needs a kubeconfig")
	f("", "", "", "", "~/.kube/config")
}

func TestInClusterConfigThatIsBroken(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if _, err := Config("", ""); err == nil || !strings.Contains(err.Error(), "use the pod's service account: ") {
		t.Errorf("error %v", err)
	}
}

func TestFlags(t *testing.T) {
	var f Flags
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.RegisterFlags(fs)
	if err := fs.Parse([]string{"--kubeconfig=x", "--context=y"}); err != nil || f != (Flags{"x", "y"}) || f.Validate() != nil {
		t.Errorf("flags %+v, %v", f, err)
	}
	if _, err := f.Config(); err == nil || !strings.Contains(err.Error(), "--kubeconfig: stat x") {
		t.Errorf("error %v", err)
	}
}
