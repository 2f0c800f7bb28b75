package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Shape is how much a kubelet says in its summary.
type Shape int

// The shapes: Compact is what all kubelets say, without spaces; Full is what one of
// 1.36 says, with pressure (PSI), I/O and swap sections, indented as it does.
const (
	Compact Shape = iota
	Full
)

// writer appends JSON. Times are seconds of the last minutes mostly, so that few of
// them are formatted more than once.
type writer struct {
	b     []byte
	times map[int64]string
	shape Shape
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) int(key string, v int64) {
	w.b = append(append(w.b, key...), ':')
	w.b = strconv.AppendInt(w.b, v, 10)
}

func (w *writer) string(key, v string) {
	w.b = append(append(w.b, key...), ':')
	w.b = strconv.AppendQuote(w.b, v)
}

func (w *writer) time(key string, second int64) {
	text, ok := w.times[second]
	if !ok {
		text = time.Unix(second, 0).UTC().Format(time.RFC3339)
		w.times[second] = text
	}
	w.b = append(append(append(append(w.b, key...), `:"`...), text...), '"')
}

const noPressure = `,"psi":{"full":{"total":0,"avg10":0,"avg60":0,"avg300":0},"some":{"total":0,"avg10":0,"avg60":0,"avg300":0}}`

func (w *writer) pressure() {
	if w.shape == Full {
		w.raw(noPressure)
	}
}

// sections are cpu and memory, and with the full shape io and swap.
func (w *writer) sections(r *reading) {
	w.time(`"cpu":{"time"`, r.at)
	w.int(`,"usageNanoCores"`, r.nano)
	w.int(`,"usageCoreNanoSeconds"`, r.cpu)
	w.pressure()
	w.time(`},"memory":{"time"`, r.at)
	if r.freeMemory > 0 {
		w.int(`,"availableBytes"`, r.freeMemory)
	}
	w.int(`,"usageBytes"`, r.usage)
	w.int(`,"workingSetBytes"`, r.working)
	w.int(`,"rssBytes"`, r.rss)
	w.int(`,"pageFaults"`, r.faults)
	w.int(`,"majorPageFaults"`, r.majors)
	w.pressure()
	w.raw("}")
	if w.shape == Full {
		w.time(`,"io":{"time"`, r.at)
		w.pressure()
		w.time(`},"swap":{"time"`, r.at)
		w.raw(`,"swapUsageBytes":0}`)
	}
}

const (
	diskBytes  = 270553174016
	diskInodes = 16777216
	diskInUse  = 80 << 30
)

// filesystem is left open.
func (w *writer) filesystem(open string, at, used, inodes int64) {
	w.time(open, at)
	w.int(`,"availableBytes"`, diskBytes-diskInUse)
	w.int(`,"capacityBytes"`, diskBytes)
	w.int(`,"usedBytes"`, used)
	w.int(`,"inodesFree"`, diskInodes-100_000)
	w.int(`,"inodes"`, diskInodes)
	w.int(`,"inodesUsed"`, inodes)
}

func (w *writer) network(at, rx, tx, rxErrors int64) {
	w.time(`"network":{"time"`, at)
	w.int(`,"name":"eth0","rxBytes"`, rx)
	w.int(`,"rxErrors"`, rxErrors)
	w.int(`,"txBytes"`, tx)
	w.int(`,"txErrors":0,"interfaces":[{"name":"eth0","rxBytes"`, rx)
	w.int(`,"rxErrors"`, rxErrors)
	w.int(`,"txBytes"`, tx)
	w.raw(`,"txErrors":0}]}`)
}

func (w *writer) container(c *Container, r reading, minute int64) {
	w.string(`{"name"`, c.Name)
	w.time(`,"startTime"`, c.Started.Unix())
	w.raw(",")
	w.sections(&r)
	w.filesystem(`,"rootfs":{"time"`, minute, r.rootfs, r.inodes)
	w.filesystem(`},"logs":{"time"`, minute, r.logs, 1)
	w.raw("}}")
}

func (w *writer) pod(p *Pod, clock clock) {
	r := p.read(clock)
	minute := r.at - r.at%60 // disks are looked at once a minute
	w.string(`{"podRef":{"name"`, p.Name)
	w.string(`,"namespace"`, p.Namespace)
	w.string(`,"uid"`, p.UID)
	w.time(`},"startTime"`, p.Started.Unix())
	w.raw(`,"containers":[`)
	for i, c := range p.Containers {
		if i > 0 {
			w.raw(",")
		}
		w.container(c, c.read(clock), minute)
	}
	w.raw("],")
	w.sections(&r)
	if !p.HostNetwork {
		w.raw(",")
		w.network(r.at, r.rx, r.tx, r.rxE)
	}
	for i, name := range p.Volumes {
		open := `},{"time"`
		if i == 0 {
			open = `,"volume":[{"time"`
		}
		w.filesystem(open, minute, 4*page, 5)
		w.string(`,"name"`, name)
	}
	if len(p.Volumes) > 0 {
		w.raw("}]")
	}
	w.filesystem(`,"ephemeral-storage":{"time"`, minute, r.rootfs+r.logs, r.inodes)
	w.int(`},"process_stats":{"process_count"`, r.processes)
	w.raw("}}")
}

// summary is the whole answer to GET /stats/summary.
func (n *Node) summary(clock clock, shape Shape) []byte {
	load := n.load.Load()
	w := &writer{b: make([]byte, 0, 4096+3000*len(load.Pods)), times: map[int64]string{}, shape: shape}
	at := clock.last(load.source)
	all, system := load.read(at)
	w.string(`{"node":{"nodeName"`, n.Name)
	w.raw(`,"systemContainers":[`)
	for i, c := range system {
		if i > 0 {
			w.raw(",")
		}
		w.string(`{"name"`, c.name)
		w.time(`,"startTime"`, load.Booted.Unix())
		w.raw(",")
		w.sections(&c.reading)
		w.raw("}")
	}
	w.time(`],"startTime"`, load.Booted.Unix())
	w.raw(",")
	w.sections(&all)
	w.raw(",")
	w.network(at, all.rx, all.tx, 0)
	minute := at - at%60
	w.filesystem(`,"fs":{"time"`, minute, diskInUse, 995_022)
	w.filesystem(`},"runtime":{"imageFs":{"time"`, minute, 11<<30, 120_000)
	w.time(`}},"rlimit":{"time"`, at)
	w.raw(`,"maxpid":4194304,"curproc":812}},"pods":[`)
	for i, p := range load.Pods {
		if i > 0 {
			w.raw(",")
		}
		w.pod(p, clock)
	}
	w.raw("]}")
	if shape == Full {
		return indent(w.b)
	}
	return w.b
}

func indent(text []byte) []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", " "); err != nil {
		panic(fmt.Sprintf("BUG: the summary is no JSON: %v", err))
	}
	return out.Bytes()
}
