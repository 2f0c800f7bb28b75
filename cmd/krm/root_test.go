package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// invoke executes a command line as main does.
func invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, fault bytes.Buffer
	code = execute(t.Context(), args, &out, &fault)
	return code, out.String(), fault.String()
}

func TestWrongCallsExitWith2AndSayWhatIsAccepted(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("clusters: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := invoke(t, args...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("krm %s: exit code %d, says %q; want 2 and %q", strings.Join(args, " "), code, stderr, want)
		}
	}
	f(`unknown command "stauts": did you mean status?`, "stauts")
	f("unknown flag: --nope", "streamer", "--nope")
	f("unknown command", "streamer", "pods")
	f("accepts 1 arg(s)", "resource", "forget")
	f(`--log-level="loud": want debug, info, warn or error`, "streamer", "--log-level=loud")
	f(`--log-format="xml": want text or json`, "aggregator", "--log-format=xml")
	f(`--listen="8000": want HOST:PORT, such as 127.0.0.1:8000`, "standalone", "--listen=8000")
	f(`--listen=":8000": want a loopback address, such as 127.0.0.1:8000; others could read everything`, "standalone", "--listen=:8000")
	f("--insecure-any-address", "standalone", "--listen=:8000")
	f("0.0.0.0", "streamer", "--listen=0.0.0.0:8080")
	f(`"Pods": want NAME, NAME.GROUP`, "streamer", "--resource=Pods")
	f(`--resource: "pods" is given twice`, "streamer", "--resource=pods,pods")
	f("--verify-every=10ms: want at least 1s", "verifier", "--verify-every=10ms")
	f("--full-every=0: want at least 1", "verifier", "--full-every=0")
	f("--late-after=0s: want at least 1s", "aggregator", "--late-after=0s")
	f("--silence=1ms: want at least 1s", "streamer", "--silence=1ms")
	f(`--redis-addr="redis": want HOST:PORT`, "aggregator", "--redis-addr=redis")
	f("2 addresses need --redis-cluster or --redis-sentinel-master", "aggregator", "--redis-addr=a:1,b:1")
	f(`--redis-prefix="{a}"`, "aggregator", "--redis-prefix={a}")
	f("--redis-password-file", "aggregator", "--redis-password-file=/does/not/exist")
	f("--feed-max-bytes=1: want at least 1048576", "aggregator", "--feed-max-bytes=1")
	f("127.0.0.1", "apiserver", "--listen=0.0.0.0:8080")
	f("/does/not/exist", "standalone", "--listen=127.0.0.1:0", "--kubeconfig=/does/not/exist")
	f(broken, "standalone", "--listen=127.0.0.1:0", "--kubeconfig="+broken)
	f("--kubeconfig and $KUBECONFIG are not set", "standalone", "--listen=127.0.0.1:0")
}

func TestFlagBeatsEnvironmentBeatsDefault(t *testing.T) {
	environment := map[string]string{"KRM_REDIS_ADDR": "env:1", "KRM_FULL_EVERY": "3"}
	lookup := func(name string) (string, bool) { value, ok := environment[name]; return value, ok }
	f := func(wantAddr, wantFull, wantPrefix string, args ...string) {
		t.Helper()
		cmd := newVerifierCommand()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := bindEnvironment(cmd.Flags(), lookup); err != nil {
			t.Fatal(err)
		}
		for flag, want := range map[string]string{"redis-addr": wantAddr, "full-every": wantFull, "redis-prefix": wantPrefix} {
			if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
				t.Errorf("%v: --%s is %s, want %s", args, flag, got, want)
			}
		}
	}
	f("[env:1]", "3", "krm")
	f("[flag:1]", "3", "krm", "--redis-addr=flag:1")
	f("[env:1]", "7", "x", "--full-every=7", "--redis-prefix=x")
}

func TestABadEnvironmentIsNamed(t *testing.T) {
	t.Setenv("KRM_FULL_EVERY", "often")
	code, _, stderr := invoke(t, "verifier")
	if code != 2 || !strings.Contains(stderr, "environment KRM_FULL_EVERY") || !strings.Contains(stderr, `"often"`) {
		t.Errorf("exit code %d, says %q", code, stderr)
	}
}

func TestHelpTeaches(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.HasParent() && cmd.Example == "" && cmd.Name() != "version" && cmd.Name() != "list" && !strings.Contains(cmd.CommandPath(), "completion") && cmd.Name() != "help" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Name != "help" && !strings.Contains(flag.Usage, "[$"+environmentName(flag.Name)+"]") {
				t.Errorf("%s --%s: its help does not name its environment variable", cmd.CommandPath(), flag.Name)
			}
			if strings.Contains(flag.Name, "password") && !strings.HasSuffix(flag.Name, "-file") {
				t.Errorf("%s --%s: a password as a flag", cmd.CommandPath(), flag.Name)
			}
		})
		for _, child := range cmd.Commands() {
			check(child)
		}
	}
	check(newRootCommand())
}

func TestCommandsThatPeopleAreToldOf(t *testing.T) {
	root := newRootCommand()
	for _, name := range []string{"streamer", "verifier", "aggregator", "apiserver", "standalone", "get", "status", "verify", "resource", "version"} {
		if cmd, _, err := root.Find([]string{name}); err != nil || cmd.Name() != name {
			t.Errorf("there is no command %s", name)
		}
	}
	if code, stdout, _ := invoke(t, "completion", "bash"); code != 0 || !strings.Contains(stdout, "krm") {
		t.Errorf("completion bash: exit code %d, %d bytes", code, len(stdout))
	}
	if code, stdout, _ := invoke(t, "version"); code != 0 || !strings.HasPrefix(stdout, "krm ") {
		t.Errorf("version: exit code %d, says %q", code, stdout)
	}
}
