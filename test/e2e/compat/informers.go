package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

const (
	churnRate  = 20 // changes a second
	cutEvery   = 9 * time.Second
	settleTime = 15 * time.Second // longer than an informer backs off after some cuts
)

// informersPart lets informers of all builds follow the same churn on both servers.
func informersPart(ctx context.Context, h *house, r *result) error {
	if len(h.cfg.informers) == 0 {
		return errors.New("no --informers: hack/test-compat.sh builds them")
	}
	servers := []*side{h.truth, h.second}
	var cutters []*cutter
	for i, s := range servers {
		c, through, err := newCutter("cut-"+s.name, s.config, h.dir)
		if err != nil {
			return err
		}
		h.running.Go(func() { c.Run(ctx) })
		servers[i], cutters = through, append(cutters, c)
	}
	journals, writes, err := h.followChurn(ctx, servers, follow{builds: h.cfg.informers, lasts: h.cfg.churn, settle: settleTime, cut: func() {
		for _, c := range cutters {
			c.Cut()
		}
	}})
	if err != nil {
		return err
	}
	r.informers, err = h.judgeJournals(ctx, journals, writes, len(servers), r.fault)
	h.say("%v informers were told everything, in order, during %d changes", r.informers, len(writes))
	return err
}

// follow says how churn is followed.
type follow struct {
	builds []string // NAME=PATH
	lasts  time.Duration
	settle time.Duration // that the informers get after the last change
	favour string        // an object that is changed at least once a second
	cut    func()
}

// followChurn starts every build with and without WatchList, changes objects for the
// given time and cuts the connections now and then, and returns what was written down,
// by program.
func (h *house) followChurn(ctx context.Context, servers []*side, how follow) (map[string][]*journal, []write, error) {
	changes := &churn{world: h.world, random: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))}
	if err := changes.prepare(ctx); err != nil {
		return nil, nil, err
	}
	programs := map[string]*process.Process{}
	for _, build := range how.builds {
		name, path, _ := strings.Cut(build, "=")
		for _, gate := range []string{"true", "false"} {
			program := name + "-watchlist-" + gate
			args := []string{"--namespace=" + churnSpace, "--out=" + h.path(program+".json")}
			for _, s := range servers {
				args = append(args, "--server="+s.name+"="+s.kubeconfig)
			}
			started, err := process.Start(process.Spec{
				Name: program, Path: path, Args: args, Env: []string{"KUBE_FEATURE_WatchListClient=" + gate}, Log: h.path(program + ".log"),
			})
			if err != nil {
				return nil, nil, err
			}
			programs[program] = started
		}
	}
	changes.favour = how.favour
	if err := process.Pause(ctx, 2*time.Second); err != nil { // they start, so that little is excused
		return nil, nil, err
	}
	if err := h.churnAndCut(ctx, changes, how); err != nil {
		return nil, nil, err
	}
	journals := map[string][]*journal{}
	for program, running := range programs {
		if !running.Stop(20*time.Second) || running.Err() != nil {
			return nil, nil, fmt.Errorf("%s did not end well: %w\n%s", program, running.Err(), process.Tail(h.path(program+".log"), 5))
		}
		text, err := os.ReadFile(filepath.Join(h.dir, program+".json"))
		if err != nil {
			return nil, nil, err
		}
		var all []*journal
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, nil, fmt.Errorf("read the journals of %s: %w", program, err)
		}
		journals[program] = all
	}
	return journals, changes.writes, nil
}

func (h *house) churnAndCut(ctx context.Context, changes *churn, how follow) error {
	churning, end := context.WithTimeout(ctx, how.lasts)
	defer end()
	done := make(chan error, 1)
	go func() { done <- changes.Run(churning, churnRate) }()
	tick := time.NewTicker(min(cutEvery, how.lasts/4))
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case err := <-done:
			if err == nil {
				err = process.Pause(ctx, how.settle)
			}
			return err
		case <-tick.C:
			if time.Since(began) < how.lasts*3/4 { // the last ones have time to recover
				how.cut()
			}
		}
	}
}

// judgeJournals counts the informers to which no promise was broken.
func (h *house) judgeJournals(ctx context.Context, journals map[string][]*journal, writes []write, servers int, report func(string, ...any)) (t tally, err error) {
	truth := map[string]map[string]string{}
	for _, resource := range churnResources() {
		list, err := h.world.client.Resource(resource).Namespace(churnSpace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return t, err
		}
		truth[resource.Resource] = map[string]string{}
		for _, o := range list.Items {
			truth[resource.Resource][o.GetName()] = o.GetResourceVersion() + " " + o.GetLabels()["side"]
		}
	}
	for program, all := range journals {
		for i, j := range all {
			t.total++
			faults := append(j.faults(writes), j.untrue(truth[j.Resource])...)
			if first := i % (len(all) / servers); first != i {
				faults = append(faults, all[first].unlike(j)...)
			}
			if len(j.Events) == 0 || j.Watches == 0 {
				faults = append(faults, "it was told nothing")
			}
			h.say("%s %s at %s: %d events, %d watches, %d lists", program, j.Name, j.Server, len(j.Events), j.Watches, len(j.Lists))
			if len(faults) == 0 {
				t.equal++
				continue
			}
			report("%s, %s at %s: %d faults, such as: %s", program, j.Name, j.Server, len(faults), strings.Join(faults[:min(4, len(faults))], "; "))
		}
	}
	return t, nil
}

// untrue compares the store with the API server's own list.
func (j *journal) untrue(truth map[string]string) (faults []string) {
	held := 0
	for key, text := range truth {
		version, side, _ := strings.Cut(text, " ")
		mine, ok := j.Store[key]
		wanted := !j.Selected || side == "in"
		if wanted {
			held++
		}
		if ok != wanted || ok && mine.Version != version {
			faults = append(faults, fmt.Sprintf("at the end it holds %s: %t at version %s; the API server has version %s, %s the selector", key, ok, mine.Version, version, side))
		}
	}
	if len(j.Store) != held {
		faults = append(faults, fmt.Sprintf("at the end it holds %d objects, not %d", len(j.Store), held))
	}
	return faults
}
