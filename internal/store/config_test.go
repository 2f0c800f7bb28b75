package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

func parse(t *testing.T, args ...string) *Config {
	t.Helper()
	c := &Config{}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigNamesEveryFault(t *testing.T) {
	f := func(args string, want ...string) {
		t.Helper()
		err := parse(t, strings.Fields(args)...).Validate()
		if len(want) == 0 && err != nil {
			t.Errorf("%s: %v", args, err)
		}
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: error %v, want %q in it", args, err, text)
			}
		}
	}
	f("")
	f("--redis-addr=a:1,b:2 --redis-cluster")
	f("--redis-addr=a:1 --redis-addr=b:2 --redis-sentinel-master=main --redis-sentinel-password-file=x")
	f("--redis-addr=a --redis-addr=:5", `--redis-addr="a": want HOST:PORT`, `--redis-addr=":5"`, "2 addresses need --redis-cluster")
	f("--redis-cluster --redis-sentinel-master=main", `--redis-sentinel-master="main"`)
	f("--redis-prefix={x}", `--redis-prefix="{x}"`)
	f("--redis-sentinel-username=u", "need --redis-sentinel-master")
	f("--redis-tls-cert-file=x", `--redis-tls-key-file=""`, "need --redis-tls")
	f("--log-max-bytes=5 --feed-max-age=1s", "--log-max-bytes=5", "--feed-max-age=1s")
}

func TestConfigReadsPasswords(t *testing.T) {
	t.Setenv(PasswordVariable, "of the environment")
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(args string, want Options) {
		t.Helper()
		got, err := parse(t, strings.Fields(args)...).Options()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Options{}, "Addrs", "Prefix", "LogMaxBytes", "LogMaxAge", "FeedMaxBytes", "FeedMaxAge")); diff != "" {
			t.Errorf("%s:\n%s", args, diff)
		}
	}
	f("--redis-username=u", Options{Username: "u", Password: "of the environment"})
	f("--redis-password-file="+name, Options{Password: "of the file"})
	f("--redis-sentinel-master=m --redis-sentinel-username=s --redis-sentinel-password-file="+name,
		Options{Password: "of the environment", SentinelMaster: "m", SentinelUsername: "s", SentinelPassword: "of the file"})
	if _, err := parse(t, "--redis-password-file=/does/not/exist").Options(); err == nil {
		t.Error("read a file that is not there")
	}
	if _, err := parse(t, "--redis-tls", "--redis-tls-ca-file="+name).Options(); err == nil {
		t.Error("took a password for a certificate")
	}
}
