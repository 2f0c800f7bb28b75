package source

import (
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// summary reads one /stats/summary.
type summary struct {
	*cursor
	decoder *Decoder
	sample  *Sample
	now     time.Time

	outer, inner reading // of the node or a pod, and of a container below it
	first        int     // the first set of ours in the sample
	other        string  // the name of another node that says to have answered
	replaced     bool    // there are dead sets
	text         []byte

	pods       map[podName]podSets
	containers map[string]int // sets of the pod's containers, by name
}

type podName struct{ namespace, name string }

// podSets are a pod's sets: its own, and those of its containers up to end.
type podSets struct {
	from, end int
	start     int64
}

func newSummary() *summary {
	return &summary{cursor: newCursor(), pods: map[podName]podSets{}, containers: map[string]int{}}
}

func (s *summary) begin(d *Decoder, body []byte, sample *Sample, now time.Time) {
	s.reset(body)
	s.decoder, s.sample, s.now, s.first, s.other = d, sample, now, len(sample.Sets), ""
	s.replaced = false
	clear(s.pods)
}

// end lets go of all that is the caller's.
func (s *summary) end() error {
	err := s.finish()
	if err == nil && s.other != "" {
		err = fmt.Errorf("it is the summary of node %q: the address of node %q is another's", s.other, s.sample.Node)
	}
	if err != nil {
		s.sample.Sets = s.sample.Sets[:s.first]
		err = fmt.Errorf("decode the summary: %w", err)
	}
	if s.replaced {
		s.dropDead()
	}
	s.reset(nil)
	s.decoder, s.sample = nil, nil
	return err
}

// dead marks sets that turned out to be of something that is gone.
const dead = metrics.Kinds

func (s *summary) dropDead() {
	kept := s.sample.Sets[:s.first]
	for _, set := range s.sample.Sets[s.first:] {
		if set.Kind != dead {
			kept = append(kept, set)
		}
	}
	s.sample.Sets = kept
}

func (s *summary) document() {
	if kind := s.json.PeekKind(); kind != '{' && kind != 0 {
		s.fail(errors.New("it is no object")) // null, too, is no summary
	}
	if !s.enter('{') {
		return
	}
	for s.field() {
		switch string(s.name) {
		case "node":
			s.node()
		case "pods":
			if s.enter('[') {
				for s.element(']') {
					s.pod()
				}
			}
		default:
			s.skip()
		}
	}
}

func (s *summary) node() {
	if !s.enter('{') {
		return
	}
	at := s.put(Set{Kind: metrics.Node})
	r := &s.outer
	r.clear()
	for s.field() {
		switch string(s.name) {
		case "nodeName":
			s.nodeName()
		case "systemContainers":
			if s.enter('[') {
				for s.element(']') {
					s.systemContainer()
				}
			}
		case "startTime":
			r.start = s.time()
		case "cpu":
			s.cpu(r)
		case "memory":
			s.memory(r)
		case "network":
			s.network(r, s.decoder.exclude)
		case "fs":
			if used, ok := s.filesystem(r, rootName); ok {
				r.set(metrics.EphemeralStorageUsage, used)
			}
		default:
			s.skip()
		}
	}
	s.fill(at, r)
}

// nodeName compares who answers with who was asked.
func (s *summary) nodeName() {
	name := s.quoted()
	switch {
	case len(name) == 0:
	case s.sample.Node == "":
		s.sample.Node = s.intern(name)
	case string(name) != s.sample.Node:
		s.other = string(name)
	}
}

func (s *summary) systemContainer() {
	if !s.enter('{') {
		return
	}
	r := &s.inner
	name := s.container(r)
	if name == "" || s.err != nil {
		return
	}
	s.fill(s.put(Set{Kind: metrics.SystemContainer, Container: systemName(name)}), r)
}

// systemName is how readers have known the kubelet's system containers for ever.
func systemName(name string) string {
	switch name {
	case "runtime":
		return "docker-daemon"
	case "misc":
		return "system"
	}
	return name
}

func (s *summary) pod() {
	if !s.enter('{') {
		return
	}
	at := s.put(Set{Kind: metrics.Pod})
	clear(s.containers)
	r := &s.outer
	r.clear()
	for s.field() {
		switch string(s.name) {
		case "podRef":
			s.podRef(at)
		case "containers":
			if s.enter('[') {
				for s.element(']') {
					s.podContainer()
				}
			}
		case "startTime":
			r.start = s.time()
		case "cpu":
			s.cpu(r)
		case "memory":
			s.memory(r)
		case "network":
			s.network(r, nil)
		case "volume":
			s.volumes(r)
		case "ephemeral-storage":
			if used, ok := s.filesystem(nil, ""); ok {
				r.set(metrics.EphemeralStorageUsage, used)
			}
		default:
			s.skip()
		}
	}
	if s.err == nil {
		s.closePod(at, r)
	}
}

// closePod gives the pod's containers its name, and sees to it that of two pods with one
// name only the later stays.
func (s *summary) closePod(at int, r *reading) {
	s.fill(at, r)
	sets := s.sample.Sets[at:]
	name := podName{sets[0].Namespace, sets[0].Pod}
	if name.name == "" {
		s.sample.Sets = s.sample.Sets[:at]
		return
	}
	for i := range sets[1:] {
		sets[i+1].Namespace, sets[i+1].Pod = name.namespace, name.name
	}
	earlier, twice := s.pods[name]
	if twice && earlier.start >= r.start {
		s.sample.Sets = s.sample.Sets[:at]
		return
	}
	if twice {
		s.replaced = true
		for i := range s.sample.Sets[earlier.from:earlier.end] {
			s.sample.Sets[earlier.from+i].Kind = dead
		}
	}
	s.pods[name] = podSets{at, at + len(sets), r.start}
}

func (s *summary) podRef(at int) {
	if !s.enter('{') {
		return
	}
	for s.field() {
		switch string(s.name) {
		case "name":
			s.sample.Sets[at].Pod = s.intern(s.quoted())
		case "namespace":
			s.sample.Sets[at].Namespace = s.intern(s.quoted())
		case "uid":
			s.sample.Sets[at].UID = s.intern(s.quoted())
		default:
			s.skip()
		}
	}
}

// podContainer reads a container. A container that has ended may still be there
// beside the one that took its name: the later start wins, and the first of equals.
func (s *summary) podContainer() {
	if !s.enter('{') {
		return
	}
	r := &s.inner
	name := s.container(r)
	if name == "" || s.err != nil {
		return
	}
	at, twice := s.containers[name]
	if twice {
		if r.start <= startOf(&s.sample.Sets[at]) {
			return
		}
	} else {
		at = s.put(Set{Kind: metrics.Container, Container: name})
		s.containers[name] = at
	}
	s.fill(at, r)
}

// container reads the inside of a container into r.
func (s *summary) container(r *reading) (name string) {
	r.clear()
	var root, logs int64
	var hasRoot, hasLogs bool
	for s.field() {
		switch string(s.name) {
		case "name":
			name = s.intern(s.quoted())
		case "startTime":
			r.start = s.time()
		case "cpu":
			s.cpu(r)
		case "memory":
			s.memory(r)
		case "rootfs":
			root, hasRoot = s.filesystem(r, rootName)
		case "logs":
			logs, hasLogs = s.filesystem(r, logsName)
		case "accelerators":
			s.accelerators(r)
		default:
			s.skip()
		}
	}
	if used, ok := addUp(root, logs); ok && hasRoot && hasLogs {
		r.set(metrics.EphemeralStorageUsage, used)
	}
	return name
}
