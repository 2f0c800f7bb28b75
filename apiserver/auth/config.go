package auth

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// The modes of --auth.
const (
	ModeNone       = "none"
	ModeToken      = "token"
	ModeKubernetes = "kubernetes"
)

// Config is what users set by flags.
type Config struct {
	Mode               string        // one of the modes above
	TokenFile          string        // the static tokens, for ModeToken
	AllowTTL           time.Duration // how long an allow is believed without asking again
	OutageBound        time.Duration // how long one is believed while the API server cannot be asked
	CertFile           string        // what the server shows, PEM; "" serves without TLS
	KeyFile            string
	InsecureAnyAddress bool
}

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Mode, "auth", ModeNone,
		"who may read: none (everyone who reaches the address), token (who has a token of --auth-token-file) or kubernetes (who may read the same from the API server)")
	fs.StringVar(&c.TokenFile, "auth-token-file", "",
		"`FILE` with the tokens of --auth=token and what each may read; krm token makes its entries. It is read again when it changes")
	fs.DurationVar(&c.AllowTTL, "auth-allow-ttl", 10*time.Second,
		"with --auth=kubernetes: how long what the API server allowed is believed before it is asked again")
	fs.DurationVar(&c.OutageBound, "auth-outage-bound", 5*time.Minute,
		"with --auth=kubernetes: how long what the API server allowed is believed while it cannot be asked")
	fs.StringVar(&c.CertFile, "tls-cert-file", "",
		"`FILE` with the certificate to serve with, PEM, intermediate ones behind it. It is read again when it changes")
	fs.StringVar(&c.KeyFile, "tls-private-key-file", "", "`FILE` with the private key of --tls-cert-file, PEM")
	fs.BoolVar(&c.InsecureAnyAddress, "insecure-any-address", false,
		"allow --listen on an address that others can reach although there is no authentication, or no TLS that hides tokens on their way")
}

// Validate returns all faults of the settings and of the address to listen on,
// joined. listen is the process's --listen.
func (c *Config) Validate(listen string) error {
	return errors.Join(c.checkMode(), c.checkTimes(), c.checkTLS(), c.checkAddress(listen))
}

func (c *Config) checkMode() error {
	modes := []string{ModeNone, ModeToken, ModeKubernetes}
	switch {
	case !slices.Contains(modes, c.Mode):
		return fmt.Errorf("--auth=%q: want one of %s", c.Mode, strings.Join(modes, ", "))
	case c.Mode == ModeToken && c.TokenFile == "":
		return errors.New("--auth=token: say with --auth-token-file where the tokens are; krm token makes the file's entries")
	case c.Mode != ModeToken && c.TokenFile != "":
		return fmt.Errorf("--auth-token-file=%q: it is of use with --auth=token only, and --auth is %s", c.TokenFile, c.Mode)
	}
	return nil
}

func (c *Config) checkTimes() error {
	var faults []error
	if c.AllowTTL <= 0 {
		faults = append(faults, fmt.Errorf("--auth-allow-ttl=%v: want more than 0, such as 10s", c.AllowTTL))
	}
	if c.OutageBound < c.AllowTTL {
		faults = append(faults, fmt.Errorf("--auth-outage-bound=%v: want at least --auth-allow-ttl, %v", c.OutageBound, c.AllowTTL))
	}
	return errors.Join(faults...)
}

func (c *Config) checkTLS() error {
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		return errors.New("--tls-cert-file: give its private key too, with --tls-private-key-file")
	case c.CertFile == "" && c.KeyFile != "":
		return errors.New("--tls-private-key-file: give its certificate too, with --tls-cert-file")
	}
	return nil
}

func (c *Config) checkAddress(listen string) error {
	err := CheckLoopback(listen)
	switch {
	case err == nil || c.InsecureAnyAddress:
		return nil
	case c.Mode == ModeNone:
		return fmt.Errorf("--listen=%w; others could read everything there without authentication (--auth=token or --auth=kubernetes asks for it, --insecure-any-address allows it)", err)
	case !c.TLS():
		return fmt.Errorf("--listen=%w; others' tokens would travel there in clear (--tls-cert-file and --tls-private-key-file hide them, --insecure-any-address allows it)", err)
	}
	return nil
}

// TLS says whether the server is to show a certificate.
func (c *Config) TLS() bool { return c.CertFile != "" }

// CheckLoopback fails unless only this machine can reach a server that listens on
// the address, HOST:PORT. Of names it trusts "localhost" alone.
func CheckLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT, such as 127.0.0.1:8080", address)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q: want a loopback address, such as 127.0.0.1:%s", address, port)
}
