package metricdb

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Config is which metric database is used, and how. connect.Open opens it.
type Config struct {
	URL             string // "" , "embedded[:?OPTIONS]", or "influxdb:URL[?OPTIONS]"
	Dir             string // what is kept on disk is below it: "metrics" or "influx-queue"
	Retention       time.Duration
	RecordRetention time.Duration
	QueueBytes      int64
	PasswordFile    string
	TokenFile       string
	Timeout         time.Duration
}

// The environment of the password and the token. There are no flags for them: flags
// are seen by everyone on the machine.
const (
	PasswordVariable = "KRM_INFLUX_PASSWORD"
	TokenVariable    = "KRM_INFLUX_TOKEN"
)

// RegisterFlags adds the flags with their defaults.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.URL, "metric-db", "", "metric database: embedded, or influxdb:http://HOST:PORT?db=k8s&… (for InfluxDB 2 &org=…&bucket=…); by default what INFLUXDB_HOST says, else none, and in standalone embedded if --data-dir is given")
	fs.StringVar(&c.Dir, "data-dir", "", "`FOLDER` of what is kept on disk: the embedded metric database, in metrics, or what waits for InfluxDB, in influx-queue")
	fs.DurationVar(&c.Retention, "metric-db-retention", 45*24*time.Hour, "how long samples are kept; 0 is for ever")
	fs.DurationVar(&c.RecordRetention, "metric-db-record-retention", 0, "how long roll-ups and lifetimes are kept; 0 is for ever")
	fs.Int64Var(&c.QueueBytes, "metric-db-queue-bytes", 512<<20, "most compressed bytes that wait on disk for InfluxDB; beyond, the oldest are dropped and counted")
	fs.StringVar(&c.PasswordFile, "metric-db-password-file", "", "`FILE` with InfluxDB's password; or put it into $"+PasswordVariable+" or $INFLUXDB_PASS")
	fs.StringVar(&c.TokenFile, "metric-db-token-file", "", "`FILE` with InfluxDB 2's token; or put it into $"+TokenVariable+" or $INFLUXDB_TOKEN")
	fs.DurationVar(&c.Timeout, "metric-db-timeout", time.Minute, "longest time that InfluxDB may take for one request")
}

// Settings are what a Config comes to, with the environment read.
type Settings struct {
	Kind     string   // "", "embedded" or "influxdb"
	Influx   Influx   // of influxdb
	Warnings []string // to be logged
}

// Influx are the options of an influxdb: URL; see heapster's documentation for those
// that it had too.
type Influx struct {
	URL             string
	User, Password  string
	Database        string
	Token           string
	Org, Bucket     string
	InsecureTLS     bool
	WithFields      bool
	Retention       time.Duration
	ClusterName     string
	DisableCounters bool
	Concurrency     int
	Types, Tags     []string
	Flux            bool
}

// Validate returns all faults of the settings, joined. It reads no files.
func (c *Config) Validate() error {
	var faults []error
	if c.Retention != 0 && c.Retention < time.Hour {
		faults = append(faults, fmt.Errorf("--metric-db-retention=%v: want at least 1h, or 0 for ever", c.Retention))
	}
	if c.RecordRetention != 0 && c.RecordRetention < 24*time.Hour {
		faults = append(faults, fmt.Errorf("--metric-db-record-retention=%v: want at least 24h, or 0 for ever", c.RecordRetention))
	}
	if c.QueueBytes < 1<<20 {
		faults = append(faults, fmt.Errorf("--metric-db-queue-bytes=%d: want at least 1048576", c.QueueBytes))
	}
	if c.Timeout < time.Second {
		faults = append(faults, fmt.Errorf("--metric-db-timeout=%v: want at least 1s", c.Timeout))
	}
	if _, err := c.parse(func(string) string { return "" }); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Settings reads the environment and the files that the settings name. Order: flag,
// KRM_… variable, INFLUXDB_… variable, default.
func (c *Config) Settings() (Settings, error) {
	set, err := c.parse(os.Getenv)
	if err != nil {
		return set, err
	}
	for _, secret := range []struct {
		file  string
		value *string
		flag  string
	}{{c.PasswordFile, &set.Influx.Password, "--metric-db-password-file"}, {c.TokenFile, &set.Influx.Token, "--metric-db-token-file"}} {
		if secret.file == "" {
			continue
		}
		text, err := os.ReadFile(secret.file)
		if err != nil {
			return set, fmt.Errorf("%s: %w", secret.flag, err)
		}
		*secret.value = strings.TrimRight(string(text), "\r\n")
	}
	return set, nil
}

// parse reads the URL, and where it says nothing the environment.
func (c *Config) parse(getenv func(string) string) (Settings, error) {
	kind, rest, _ := strings.Cut(c.URL, ":")
	switch {
	case c.URL == "" && getenv("INFLUXDB_HOST") != "":
		kind = "influxdb"
	case c.URL == "":
		return Settings{}, nil
	}
	switch kind {
	case "embedded":
		if strings.TrimPrefix(rest, "?") != "" {
			return Settings{}, fmt.Errorf("--metric-db=%s: embedded has no options; its folder is --data-dir", c.URL)
		}
		return Settings{Kind: kind}, nil
	case "influxdb":
		set, err := parseInflux(rest, c.Retention, getenv)
		if err != nil {
			return set, fmt.Errorf("--metric-db=influxdb: %w", err)
		}
		return set, nil
	}
	return Settings{}, fmt.Errorf("--metric-db=%q: want embedded or influxdb:URL", kind)
}

// ParseInflux reads what stands after "influxdb:" in --metric-db or --sink:
// URL[?OPTIONS], with the environment as defaults. Variables ($NAME) are put in, as
// Heapster did; $ itself is %24.
func ParseInflux(text string) (Settings, error) {
	return parseInflux(text, 0, os.Getenv)
}

// expand puts variables into URL[?OPTIONS]. In the options they are values, whatever
// characters they have.
func expand(text string, getenv func(string) string) string {
	address, options, found := strings.Cut(text, "?")
	address = os.Expand(address, getenv)
	if !found {
		return address
	}
	return address + "?" + os.Expand(options, func(name string) string { return url.QueryEscape(getenv(name)) })
}

func parseInflux(text string, retention time.Duration, getenv func(string) string) (Settings, error) {
	u, err := url.Parse(expand(text, getenv))
	if err != nil {
		return Settings{}, errors.New("the URL cannot be read: want http://HOST:PORT?OPTION=VALUE&…") // err would show a password
	}
	first := func(values ...string) string {
		for _, value := range values {
			if value != "" {
				return value
			}
		}
		return ""
	}
	o := &influxOptions{values: u.Query()}
	if u.User != nil {
		o.faults = append(o.faults, errors.New("a user stands before the @ of the URL: want ?user=NAME, and the password in a file or the environment"))
	}
	host := first(u.Host, getenv("INFLUXDB_HOST"), "localhost")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), first(getenv("INFLUXDB_PORT"), "8086"))
	}
	scheme := "http"
	if o.flag("secure", u.Scheme == "https") {
		scheme = "https"
	}
	set := Settings{Kind: "influxdb", Influx: Influx{
		URL:             scheme + "://" + host,
		User:            first(o.text("user"), getenv("KRM_INFLUX_USER"), getenv("INFLUXDB_USER"), "root"),
		Password:        first(o.text("pw"), getenv(PasswordVariable), getenv("INFLUXDB_PASS"), "root"),
		Database:        first(o.text("db"), getenv("INFLUXDB_DB"), "k8s"),
		Token:           first(o.text("token"), getenv(TokenVariable), getenv("INFLUXDB_TOKEN")),
		Org:             first(o.text("org"), getenv("INFLUXDB_ORG")),
		Bucket:          first(o.text("bucket"), getenv("INFLUXDB_BUCKET")),
		InsecureTLS:     o.flag("insecuressl", false),
		WithFields:      o.flag("withfields", false),
		Retention:       o.duration("retention", retention),
		ClusterName:     o.text("cluster_name"),
		DisableCounters: o.flag("disable_counter_metrics", false),
		Concurrency:     o.count("concurrency", 1),
		Types:           o.list("types"),
		Tags:            o.list("tags"),
		Flux:            o.flag("flux", false),
	}}
	_, options, _ := strings.Cut(text, "?")
	literal, _ := url.ParseQuery(options) // u was read, so this can be
	for _, name := range []string{"pw", "token"} {
		if value := literal.Get(name); value != "" && !strings.HasPrefix(value, "$") {
			set.Warnings = append(set.Warnings, name+"= in the URL is seen by everyone on the machine: use a file or the environment")
		}
	}
	return set, o.fault()
}

// influxOptions reads options, and remembers what is wrong.
type influxOptions struct {
	values url.Values
	known  []string
	faults []error
}

func (o *influxOptions) text(name string) string {
	o.known = append(o.known, name)
	return o.values.Get(name)
}

func (o *influxOptions) flag(name string, otherwise bool) bool {
	text := o.text(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		o.faults = append(o.faults, fmt.Errorf("%s=%q: want true or false", name, text))
	}
	return value
}

func (o *influxOptions) count(name string, otherwise int) int {
	text := o.text(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil || value <= 0 {
		o.faults = append(o.faults, fmt.Errorf("%s=%q: want a number above 0", name, text))
	}
	return value
}

// duration reads 720h, 30d, or 0 for ever.
func (o *influxOptions) duration(name string, otherwise time.Duration) time.Duration {
	text := o.text(name)
	if text == "" {
		return otherwise
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100000 {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 || value > 0 && value < time.Hour {
		o.faults = append(o.faults, fmt.Errorf("%s=%q: want a duration of at least 1h, such as 720h or 30d, or 0 for ever", name, text))
	}
	return value
}

func (o *influxOptions) list(name string) (all []string) {
	for part := range strings.SplitSeq(o.text(name), ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func (o *influxOptions) fault() error {
	for name := range o.values {
		if !slices.Contains(o.known, name) {
			slices.Sort(o.known)
			o.faults = append(o.faults, fmt.Errorf("there is no option %q: want one of %s", name, strings.Join(o.known, ", ")))
		}
	}
	return errors.Join(o.faults...)
}
