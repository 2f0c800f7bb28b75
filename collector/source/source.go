// Package source asks the kubelets, and the exporters beside them, what their nodes,
// pods and containers use.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// longest is how long a node is waited for if the caller does not say.
const longest = 30 * time.Second

// Source asks the nodes of one cluster. It is safe for concurrent use; it keeps one
// connection a node.
type Source struct {
	config   Config
	selector labels.Selector // nil: nodes with GPUs
	client   *client
	decoder  *Decoder
}

// Open makes a Source. It reads the files that config and access name, and asks
// nobody. It is no error if the pod's service account is not there: the first answer
// 401 will say so.
func Open(config Config, access Access, log *slog.Logger) (*Source, error) {
	selector, err := selectorOf(config.NodeSelector)
	if err != nil {
		return nil, fmt.Errorf("open source %s of cluster %s: %w", config.Prefix, config.Cluster, err)
	}
	client, err := newClient(&config, access.orServiceAccount(&config))
	if err != nil {
		return nil, fmt.Errorf("open source %s of cluster %s: %w", config.Prefix, config.Cluster, err)
	}
	for _, warning := range config.Warnings {
		log.Warn("source is not set up as it should be", "source", config.Prefix, "cluster", config.Cluster, "warning", warning)
	}
	return &Source{config: config, selector: selector, client: client, decoder: NewDecoder(config.NetworkExclude)}, nil
}

// Config returns what the source was opened with.
func (s *Source) Config() Config { return s.config }

// Close closes the connections that are idle. A source needs no closing if the
// program ends.
func (s *Source) Close() { s.client.http.CloseIdleConnections() }

// Scrape asks one node once, until ctx ends, or for 30 seconds if ctx has no deadline.
// Its errors are *Error. If only what stands beside the summary could not be had there
// is no error, and Sample.Missing says so. The sample is the caller's: see
// Sample.Release.
func (s *Source) Scrape(ctx context.Context, target Target) (*Sample, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	node := target.Node
	sample := NewSample(node.Name)
	if err := s.client.ask(ctx, question{node.Name, target.URL, s.rule()}, s.reader(target, sample)); err != nil {
		sample.Release()
		return nil, err
	}
	if target.cadvisor == "" {
		return sample, nil
	}
	// On the same connection, so after the other.
	err := s.client.ask(ctx, question{node.Name, target.cadvisor, "nodes/metrics"}, func(body []byte) error {
		return s.decoder.Cadvisor(body, sample)
	})
	if err != nil {
		sample.Missing = err
	}
	return sample, nil
}

// rule is what one must be allowed to get; "" if kubelets do not guard it.
func (s *Source) rule() string {
	if s.config.Prefix == DCGM {
		return ""
	}
	return "nodes/stats"
}

func (s *Source) reader(target Target, sample *Sample) func(body []byte) error {
	if s.config.Prefix != DCGM {
		return func(body []byte) error {
			if err := s.decoder.Summary(body, sample); err != nil {
				return err
			}
			if len(sample.Sets) == 0 {
				return errors.New("decode the summary: it tells of nothing, not even the node")
			}
			return nil
		}
	}
	var hosts []string // an exporter of the node's own is about nothing else
	if s.config.Server != "" {
		hosts = hostsOf(target.Node)
	}
	return func(body []byte) error { return s.decoder.DCGM(body, hosts, sample) }
}
