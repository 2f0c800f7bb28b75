package auth

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestConfig(t *testing.T) {
	f := func(args, listen string, wants ...string) {
		t.Helper()
		var c Config
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		c.RegisterFlags(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := c.Validate(listen)
		if len(wants) == 0 && err != nil {
			t.Errorf("%s on %s: %v", args, listen, err)
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s on %s: %v, want %q", args, listen, err, want)
			}
		}
	}
	const loopback, world = "127.0.0.1:8080", "0.0.0.0:8080"
	const tls = " --tls-cert-file c --tls-private-key-file k"
	f("", loopback)
	f("", "localhost:8080")
	f("", "[::1]:8080")
	f("", world, "want a loopback address", "without authentication")
	f("", ":8080", "want a loopback address")
	f("", "example.com:8080", "want a loopback address")
	f("", "8080", "want HOST:PORT")
	f(tls, world, "without authentication") // TLS alone keeps nobody out
	f("--insecure-any-address", world)
	f("--auth token --auth-token-file f", loopback)
	f("--auth token --auth-token-file f", world, "travel there in clear")
	f("--auth token --auth-token-file f --insecure-any-address", world)
	f("--auth token --auth-token-file f"+tls, world)
	f("--auth kubernetes", world, "travel there in clear")
	f("--auth kubernetes"+tls, world)
	f("--auth token", loopback, "--auth-token-file")
	f("--auth kubernetes --auth-token-file f", loopback, "of use with --auth=token only")
	f("--auth basic", loopback, `--auth="basic": want one of none, token, kubernetes`)
	f("--tls-cert-file c", loopback, "--tls-private-key-file")
	f("--tls-private-key-file k", loopback, "--tls-cert-file")
	f("--auth-allow-ttl 0s", loopback, "want more than 0")
	f("--auth-allow-ttl 10m", loopback, "--auth-outage-bound=5m0s: want at least --auth-allow-ttl, 10m0s")
	f("--auth x --auth-allow-ttl 0s", world, "want one of", "want more than 0", "loopback") // all faults at once
}
