package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Options says where Redis is and how it is used. The zero value is a single
// server at 127.0.0.1:6379 without a password.
type Options struct {
	Addrs          []string // host:port of the server, of the sentinels, or of some cluster nodes
	Prefix         string   // of every key; default "krm". One cluster, one prefix
	Username       string
	Password       string
	TLS            *tls.Config // nil: no TLS
	SentinelMaster string      // name of the master; Addrs are then the sentinels
	// SentinelUsername and SentinelPassword are for the sentinels themselves.
	SentinelUsername string
	SentinelPassword string
	Cluster          bool     // Redis Cluster
	Embedded         bool     // it is ours (StartEmbedded) and evicts nothing, though it does not say so
	Instance         string   // names this process to others; default HOST-PID
	Metrics          *Metrics // nil: none

	LogMaxBytes  int64         // of entries, per resource; default 256 MiB
	LogMaxAge    time.Duration // default 1 h
	FeedMaxBytes int64         // of entries, per resource; default 64 MiB
	FeedMaxAge   time.Duration // default 15 min
	LeaseTTL     time.Duration // after which a silent writer is replaced; default 5 s, least 100 ms
}

func (o Options) withDefaults() Options {
	if len(o.Addrs) == 0 {
		o.Addrs = []string{"127.0.0.1:6379"}
	}
	if o.Instance == "" {
		host, _ := os.Hostname() // an unknown host is still told apart by its process ID
		o.Instance = host + "-" + strconv.Itoa(os.Getpid())
	}
	o.Prefix = cmp.Or(o.Prefix, "krm")
	o.LogMaxBytes = cmp.Or(o.LogMaxBytes, 256<<20)
	o.LogMaxAge = cmp.Or(o.LogMaxAge, time.Hour)
	o.FeedMaxBytes = cmp.Or(o.FeedMaxBytes, 64<<20)
	o.FeedMaxAge = cmp.Or(o.FeedMaxAge, 15*time.Minute)
	o.LeaseTTL = max(cmp.Or(o.LeaseTTL, 5*time.Second), 100*time.Millisecond)
	return o
}

// Store is a connection to one Redis. It is safe for concurrent use.
type Store struct {
	options  Options
	client   redis.UniversalClient // for commands
	blocking redis.UniversalClient // for XREAD BLOCK alone: waiting readers hold no writer's connection
	log      *slog.Logger

	mu     sync.Mutex
	codecs map[string]*codec // by resource
}

// Connect opens Redis and checks it. It refuses a Redis that may evict keys:
// maxmemory-policy must be noeviction. A server that does not tell its policy is
// taken with a warning. Connect tries once; the caller repeats it.
func Connect(ctx context.Context, options Options, log *slog.Logger) (*Store, error) {
	options = options.withDefaults()
	if len(options.Addrs) > 1 && options.SentinelMaster == "" && !options.Cluster {
		return nil, fmt.Errorf("connect to redis: %d addresses need a sentinel master or cluster mode", len(options.Addrs))
	}
	s := &Store{
		options: options,
		// 512 readers may wait at once, far more than resources times roles.
		client:   redis.NewUniversalClient(clientOptions(options, 16, 64<<10)),
		blocking: redis.NewUniversalClient(clientOptions(options, 512, 256<<10)),
		log:      log,
		codecs:   map[string]*codec{},
	}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func clientOptions(o Options, pool, readBuffer int) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                 o.Addrs,
		ClientName:            "krm",
		Protocol:              2,
		Username:              o.Username,
		Password:              o.Password,
		SentinelUsername:      o.SentinelUsername,
		SentinelPassword:      o.SentinelPassword,
		MasterName:            o.SentinelMaster,
		IsClusterMode:         o.Cluster && o.SentinelMaster == "",
		TLSConfig:             o.TLS,
		DialTimeout:           2 * time.Second,
		DialerRetries:         1,
		ReadTimeout:           scanTimeout, // the call's own deadline is what counts
		WriteTimeout:          scanTimeout,
		ContextTimeoutEnabled: true,
		PoolSize:              pool,
		ReadBufferSize:        readBuffer,
		WriteBufferSize:       64 << 10,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

// Close closes every connection.
func (s *Store) Close() error {
	return errors.Join(s.client.Close(), s.blocking.Close())
}

// check pings Redis and looks at its eviction policy, on every master of a cluster.
func (s *Store) check(ctx context.Context) error {
	return s.call(ctx, "connect", strings.Join(s.options.Addrs, ","), callTimeout, func(ctx context.Context) error {
		if cluster, ok := s.client.(*redis.ClusterClient); ok {
			return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
				return s.checkServer(ctx, node)
			})
		}
		return s.checkServer(ctx, s.client)
	})
}

func (s *Store) checkServer(ctx context.Context, server redis.Cmdable) error {
	if err := server.Ping(ctx).Err(); err != nil {
		return err
	}
	if s.options.Embedded {
		return nil
	}
	policy, err := evictionPolicy(ctx, server)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.log.Warn("redis does not tell its maxmemory-policy, which must be noeviction", "err", err)
		return nil
	}
	if policy != "noeviction" {
		return fmt.Errorf("maxmemory-policy is %s: KRM needs noeviction, or keys vanish silently (CONFIG SET maxmemory-policy noeviction)", policy)
	}
	return nil
}

// evictionPolicy asks by INFO, which managed servers allow, then by CONFIG.
func evictionPolicy(ctx context.Context, server redis.Cmdable) (string, error) {
	info, err := server.Info(ctx, "memory").Result()
	if err == nil {
		for line := range strings.Lines(info) {
			if policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); found {
				return policy, nil
			}
		}
	}
	config, err := server.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil {
		return "", err
	}
	if config["maxmemory-policy"] == "" {
		return "", errors.New("neither INFO nor CONFIG has it")
	}
	return config["maxmemory-policy"], nil
}

const (
	callTimeout = 5 * time.Second  // of one call, the client's retries included
	scanTimeout = 30 * time.Second // of a call that may bring or write many megabytes
)

// call runs f under a deadline, measures it, and wraps its error with what was
// done to what.
func (s *Store) call(ctx context.Context, operation, subject string, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	err := f(ctx)
	s.options.Metrics.observe(operation, time.Since(start), err)
	if err == nil {
		return nil
	}
	if redis.IsOOMError(err) {
		err = fmt.Errorf("%w: raise its maxmemory or lower the caps of log and feed: %w", object.ErrFull, err)
	}
	return fmt.Errorf("%s %s: %w", operation, subject, err)
}

func (s *Store) codec(resource object.Resource) *codec {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := resource.String()
	c := s.codecs[name]
	if c == nil {
		c = newCodec(s, resource)
		s.codecs[name] = c
	}
	return c
}

// randomID returns 16 hexadecimal digits.
func randomID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(id[:])
}

// Ping fails if Redis does not answer.
func (s *Store) Ping(ctx context.Context) error {
	return s.call(ctx, "ping", strings.Join(s.options.Addrs, ","), callTimeout, func(ctx context.Context) error {
		return s.client.Ping(ctx).Err()
	})
}
