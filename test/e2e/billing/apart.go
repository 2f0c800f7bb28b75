package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// apartPart asks an apiserver of its own, on the same database, what krm standalone was asked.
func (s *side) apartPart(ctx context.Context, c *checker, redis string) error {
	if s.api.kept == nil {
		return nil
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	krm := process.Krm{Binary: s.cfg.krm, Redis: redis, Logs: s.dir}
	spec := krm.Spec("apiserver", port, s.args[1:]...) // without the folder, which is one process' own
	spec.Env = s.env
	p, err := process.Start(spec)
	if err != nil {
		return err
	}
	defer p.Stop(10 * time.Second)
	a := newAsker(fmt.Sprintf("http://127.0.0.1:%d", port), &http.Transport{MaxIdleConnsPerHost: 8})
	if err := answering(ctx, a, p); err != nil {
		return err
	}
	return s.api.kept.again(ctx, c, "another apiserver", a, 5)
}
