// Package influx is the metric database over InfluxDB: 1.8 and later by InfluxQL with
// bound parameters, 2.x (and 1.8 if asked) by Flux. Writes go through
// influxdb-client-go; what cannot be sent waits on disk.
//
// The schema is Heapster's: a measurement per metric, one field value, Heapster's tags.
// Records and the directory of pods lie in a retention policy (2.x: a bucket) of their own.
package influx

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The retention policies of 1.x.
const (
	samplePolicy = "default" // Heapster's name
	recordPolicy = "krm"
)

// Options are the settings of a Store.
type Options struct {
	URL      string // scheme, host and port
	User     string
	Password string
	Database string // of 1.x

	Token  string // of 2.x; with it, or with Bucket, 2.x is spoken
	Org    string
	Bucket string

	InsecureTLS     bool
	WithFields      bool          // measurement cpu, field usage_rate
	Retention       time.Duration // of samples; 0: for ever
	RecordRetention time.Duration // of records; 0: for ever
	ClusterName     string        // instead of "default", where a batch says that
	DisableCounters bool          // leave out counters that have a rate
	Types           []string      // only these levels, as their tag type; none: all
	Tags            []string      // of pod_id, namespace_id, hostname, host_id
	Concurrency     int           // parallel writes; 0: 1
	Flux            bool          // query 1.8 by Flux, as 2.x

	QueueDir   string // where what cannot be sent waits; "": nowhere, Write says ErrUnavailable
	QueueBytes int64  // its bound, compressed; 0: 512 MiB
	Timeout    time.Duration
	patience   time.Duration // how long a piece waits for the server before all go to the queue; 0: mostPatience
	Metrics    *metricdb.Metrics
}

const defaultQueueBytes = 512 << 20

// complete fills defaults in, and checks.
func (o Options) complete() (Options, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return o, errors.New("the URL of InfluxDB cannot be read: want http://HOST:PORT or https://HOST:PORT") // it may have a password in it
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return o, fmt.Errorf("the URL of InfluxDB with scheme %q and host %q: want http://HOST:PORT or https://HOST:PORT", u.Scheme, u.Host)
	case u.User != nil:
		return o, errors.New("the URL of InfluxDB has a user in it: want user=NAME, and the password in a file or the environment")
	}
	o.URL = u.Scheme + "://" + u.Host
	if o.version2() && (o.Token == "" || o.Org == "" || o.Bucket == "") {
		return o, errors.New("InfluxDB 2 needs a token, an org and a bucket")
	}
	if !o.version2() && o.Database == "" {
		o.Database = "k8s"
	}
	if o.Retention != 0 && o.Retention < time.Hour {
		return o, fmt.Errorf("a retention of %v: InfluxDB keeps at least 1h; 0 keeps for ever", o.Retention)
	}
	for _, name := range o.Tags {
		if !slices.Contains([]string{metricdb.TagPodID, "namespace_id", "hostname", "host_id"}, name) {
			return o, fmt.Errorf("tags=%q: want pod_id, namespace_id, hostname or host_id", name)
		}
	}
	for _, name := range o.Types {
		if !isLevel(name) {
			return o, fmt.Errorf("types=%q: want cluster, ns, node, pod, pod_container or sys_container", name)
		}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 1
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueueBytes
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Metrics == nil {
		o.Metrics = metricdb.NewMetrics(nil)
	}
	return o, nil
}

func isLevel(name string) bool {
	for kind := range metrics.Levels {
		if kind.String() == name {
			return true
		}
	}
	return false
}

func (o *Options) version2() bool { return o.Token != "" || o.Bucket != "" }

// bucket is how the v2 API names where something is written.
func (o *Options) bucket(policy string) string {
	switch {
	case !o.version2():
		return o.Database + "/" + policy
	case policy == recordPolicy:
		return o.Bucket + "-" + recordPolicy
	default:
		return o.Bucket
	}
}

// place is where a metric is stored.
func (o *Options) place(metric string) (measurement, field string) {
	if o.WithFields {
		if family, name, ok := strings.Cut(metric, "/"); ok {
			return family, name
		}
	}
	return metric, "value"
}

// metric is place's inverse.
func (o *Options) metric(measurement, field string) string {
	if o.WithFields && field != "value" {
		return measurement + "/" + field
	}
	return measurement
}

func (o *Options) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = o.Concurrency + 4
	t.ResponseHeaderTimeout = o.Timeout
	t.DisableCompression = true // to pack answers takes the server longer than to send them
	if o.InsecureTLS {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user asked for it: insecuressl=true
	}
	return t
}
