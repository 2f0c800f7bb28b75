package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// ownClient is KRM's client at KRM, as a program with its defaults.
func (l *lab) ownClient() (*client.Client, error) {
	s := l.sides[krm]
	return client.New(s.base, client.Options{Token: s.token, CAData: s.ca, Timeout: time.Minute})
}

// own lists with KRM's client: anew each time, and on condition that something has
// changed.
func (l *lab) own() (list, unchanged timed, err error) {
	c, err := l.ownClient()
	if err != nil {
		return nil, nil, err
	}
	list = func(ctx context.Context, _ int, _ *bytes.Buffer) (time.Duration, error) {
		began := time.Now()
		pods, _, err := c.Pods("").List(ctx, client.ListOptions{})
		took := time.Since(began)
		if err == nil && len(pods.Items) != l.cfg.pods {
			err = fmt.Errorf("krm's client has %d pods, want %d", len(pods.Items), l.cfg.pods)
		}
		return took, err
	}
	cached := c.Pods("").Cached(client.ListOptions{})
	unchanged = func(ctx context.Context, _ int, _ *bytes.Buffer) (time.Duration, error) {
		began := time.Now()
		pods, _, err := cached.Shared(ctx)
		took := time.Since(began)
		if err == nil && len(pods.Items) != l.cfg.pods {
			err = fmt.Errorf("krm's client keeps %d pods, want %d", len(pods.Items), l.cfg.pods)
		}
		return took, err
	}
	return list, unchanged, nil
}
