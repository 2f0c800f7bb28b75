package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Config is what users set by flags.
type Config struct {
	Addrs          []string
	Prefix         string
	Username       string
	PasswordFile   string
	SentinelMaster string
	// SentinelUsername and SentinelPasswordFile are for the sentinels themselves.
	SentinelUsername     string
	SentinelPasswordFile string
	Cluster              bool
	TLS                  bool
	TLSCAFile            string
	TLSCertFile          string
	TLSKeyFile           string
	LogMaxBytes          int64
	LogMaxAge            time.Duration
	FeedMaxBytes         int64
	FeedMaxAge           time.Duration
}

// PasswordVariable is the environment variable of Redis' password. There is no
// flag for it: flags are seen by everyone on the machine.
const PasswordVariable = "KRM_REDIS_PASSWORD"

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Addrs, "redis-addr", []string{"127.0.0.1:6379"}, "HOST:PORT of Redis; of the sentinels or of some cluster nodes if there are several")
	fs.StringVar(&c.Prefix, "redis-prefix", "krm", "prefix of every key: one for each Kubernetes cluster in the same Redis")
	fs.StringVar(&c.Username, "redis-username", "", "user of Redis' ACL; the password comes from --redis-password-file or $"+PasswordVariable)
	fs.StringVar(&c.PasswordFile, "redis-password-file", "", "file that holds Redis' password")
	fs.StringVar(&c.SentinelMaster, "redis-sentinel-master", "", "name of the master; --redis-addr are then the sentinels")
	fs.StringVar(&c.SentinelUsername, "redis-sentinel-username", "", "user of the sentinels' own ACL")
	fs.StringVar(&c.SentinelPasswordFile, "redis-sentinel-password-file", "", "file that holds the sentinels' own password")
	fs.BoolVar(&c.Cluster, "redis-cluster", false, "Redis is a Redis Cluster")
	fs.BoolVar(&c.TLS, "redis-tls", false, "use TLS to Redis")
	fs.StringVar(&c.TLSCAFile, "redis-tls-ca-file", "", "certificates (PEM) that vouch for Redis; the system's by default")
	fs.StringVar(&c.TLSCertFile, "redis-tls-cert-file", "", "client certificate (PEM) for Redis")
	fs.StringVar(&c.TLSKeyFile, "redis-tls-key-file", "", "key (PEM) of the client certificate")
	fs.Int64Var(&c.LogMaxBytes, "log-max-bytes", 256<<20, "most bytes that a resource's log may hold")
	fs.DurationVar(&c.LogMaxAge, "log-max-age", time.Hour, "longest time that a resource's log keeps an entry")
	fs.Int64Var(&c.FeedMaxBytes, "feed-max-bytes", 64<<20, "most bytes that a resource's feed may hold")
	fs.DurationVar(&c.FeedMaxAge, "feed-max-age", 15*time.Minute, "longest time that a resource's feed keeps an entry")
}

// Validate returns all faults of the settings, joined. It reads no file: Options does.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, addr := range c.Addrs {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			fault("--redis-addr=%q: want HOST:PORT, such as 127.0.0.1:6379", addr)
		}
	}
	switch {
	case len(c.Addrs) == 0:
		fault("--redis-addr: want at least one HOST:PORT")
	case c.Cluster && c.SentinelMaster != "":
		fault("--redis-cluster and --redis-sentinel-master=%q exclude one another", c.SentinelMaster)
	case len(c.Addrs) > 1 && !c.Cluster && c.SentinelMaster == "":
		fault("--redis-addr: %d addresses need --redis-cluster or --redis-sentinel-master", len(c.Addrs))
	}
	if c.SentinelMaster == "" && c.SentinelUsername+c.SentinelPasswordFile != "" {
		fault("--redis-sentinel-username=%q and --redis-sentinel-password-file=%q need --redis-sentinel-master", c.SentinelUsername, c.SentinelPasswordFile)
	}
	if c.Prefix == "" || strings.ContainsAny(c.Prefix, "{} \t\n") {
		fault("--redis-prefix=%q: want a name without braces and spaces", c.Prefix)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		fault("--redis-tls-cert-file=%q and --redis-tls-key-file=%q: want both or none", c.TLSCertFile, c.TLSKeyFile)
	}
	if !c.TLS && (c.TLSCAFile != "" || c.TLSCertFile != "") {
		fault("--redis-tls-ca-file and --redis-tls-cert-file need --redis-tls")
	}
	for _, limit := range []struct {
		flag  string
		bytes int64
		age   time.Duration
	}{{"log", c.LogMaxBytes, c.LogMaxAge}, {"feed", c.FeedMaxBytes, c.FeedMaxAge}} {
		if limit.bytes < 1<<20 {
			fault("--%s-max-bytes=%d: want at least 1048576", limit.flag, limit.bytes)
		}
		if limit.age < time.Minute {
			fault("--%s-max-age=%v: want at least 1m", limit.flag, limit.age)
		}
	}
	return errors.Join(faults...)
}

// Options returns the settings for Connect. It reads the files that the settings name.
func (c *Config) Options() (Options, error) {
	password, err := readSecret("--redis-password-file", c.PasswordFile)
	if err != nil {
		return Options{}, err
	}
	if c.PasswordFile == "" {
		password = os.Getenv(PasswordVariable)
	}
	sentinelPassword, err := readSecret("--redis-sentinel-password-file", c.SentinelPasswordFile)
	if err != nil {
		return Options{}, err
	}
	security, err := c.tls()
	if err != nil {
		return Options{}, err
	}
	return Options{
		Addrs: c.Addrs, Prefix: c.Prefix, Username: c.Username, Password: password, TLS: security,
		SentinelMaster: c.SentinelMaster, SentinelUsername: c.SentinelUsername, SentinelPassword: sentinelPassword, Cluster: c.Cluster,
		LogMaxBytes: c.LogMaxBytes, LogMaxAge: c.LogMaxAge, FeedMaxBytes: c.FeedMaxBytes, FeedMaxAge: c.FeedMaxAge,
	}, nil
}

// readSecret reads a file without the line break at its end; "" without a name.
func readSecret(flag, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func (c *Config) tls() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	security := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCAFile != "" {
		pem, err := os.ReadFile(c.TLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("--redis-tls-ca-file: %w", err)
		}
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--redis-tls-ca-file=%s: no certificate in PEM form in it", c.TLSCAFile)
		}
	}
	if c.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--redis-tls-cert-file and --redis-tls-key-file: %w", err)
		}
		security.Certificates = []tls.Certificate{pair}
	}
	return security, nil
}
