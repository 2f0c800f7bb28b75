package billing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	secret, empty := write("password", "from file\n"), write("empty", "\n")
	prices, bad := write("prices.yaml", testPrices), write("bad.yaml", "currency: [")
	f := func(says, environment string, args ...string) {
		t.Helper()
		var c Config
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.RegisterFlags(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		o, err := c.Options(func(name string) (string, bool) {
			value, ok := map[string]string{"API_USERNAME": "u", "API_PASSWORD": environment}[name]
			return value, ok && value != ""
		})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			var username string
			username, got, err = o.Credentials.read()
			if username != "u" || err != nil {
				t.Error(username, err)
			}
			if o.Prices != nil {
				got += " " + o.Prices.Currency
			}
		}
		if !strings.Contains(got, says) || says == "" && got != "" {
			t.Errorf("%q: %q, want %q", args, got, says)
		}
	}
	f("from env", "from env")
	f("from file", "from env", "--api-password-file", secret)
	f("from file CHF", "", "--api-password-file", secret, "--prices", prices)
	f("one of the user name and the password", "")
	f("is empty", "x", "--api-password-file", empty)
	f("no such file", "x", "--api-password-file", dir+"/none")
	f("bad.yaml", "x", "--prices", bad)
	f("no such file", "x", "--prices", dir+"/none")
}
