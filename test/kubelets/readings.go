package main

import "time"

// page is how memory is counted.
const page = 4096

// reading is what a cgroup's counters said at one moment.
type reading struct {
	at         int64 // Unix seconds
	cpu        int64 // nanoseconds in all, whole microseconds as cgroups count them
	nano       int64 // nanocores of late
	usage      int64 // bytes
	working    int64
	rss        int64
	cache      int64
	faults     int64
	majors     int64
	rootfs     int64 // bytes
	logs       int64
	read       int64 // bytes from the device
	written    int64
	inodes     int64
	processes  int64
	rx, tx     int64
	rxE, txE   int64
	freeMemory int64
}

// clock tells when things are read: every housekeeping seconds, everything at
// another second of it.
type clock struct {
	now          time.Time
	housekeeping int64
}

// last is the second at which what has that source was read last.
func (c clock) last(s source) int64 {
	now := c.now.Unix()
	return now - (now+int64(uint64(s)%uint64(c.housekeeping)))%c.housekeeping
}

// read is what the container's cgroup says.
func (c *Container) read(clock clock) reading {
	s := c.source
	at := clock.last(s)
	age := max(0, at-c.Started.Unix())
	memory := float64(c.Memory) * (1 + 0.12*s.child(2).between(age, 30) + 0.05*s.child(3).between(age, 900))
	usage := int64(memory) &^ (page - 1)
	r := reading{
		at:      at,
		cpu:     int64(s.counter(c.CPU*1000, age)) * 1000, // a millicore is 1000 µs a second
		usage:   usage,
		working: usage * 9 / 10 &^ (page - 1),
		rss:     usage * 7 / 10 &^ (page - 1),
		cache:   usage * 2 / 10 &^ (page - 1),
		faults:  int64(s.child(4).counter(c.CPU*2, age)),
		majors:  int64(s.child(5).counter(0.01, age)),
		rootfs:  (int64(s.child(6).unit(0)*64e6) + 40960) &^ (page - 1),
		logs:    (int64(s.child(7).counter(c.CPU*30, age)) + page) &^ (page - 1),
		read:    int64(s.child(8).counter(c.CPU*1000, age)) &^ (page - 1),
		written: int64(s.child(9).counter(c.CPU*4000, age)) &^ (page - 1),
		inodes:  20 + int64(s.child(10).unit(0)*200),
	}
	r.nano = r.cpu - int64(s.counter(c.CPU*1000, age-min(age, 10)))*1000
	if lately := min(age, 10); lately > 0 {
		r.nano /= lately
	}
	return r
}

// add is the reading of what both are part of.
func (r *reading) add(o reading) {
	r.cpu, r.nano = r.cpu+o.cpu, r.nano+o.nano
	r.usage, r.working, r.rss, r.cache = r.usage+o.usage, r.working+o.working, r.rss+o.rss, r.cache+o.cache
	r.faults, r.majors = r.faults+o.faults, r.majors+o.majors
	r.rootfs, r.logs, r.inodes = r.rootfs+o.rootfs, r.logs+o.logs, r.inodes+o.inodes
	r.read, r.written = r.read+o.read, r.written+o.written
	r.rx, r.tx = r.rx+o.rx, r.tx+o.tx
}

// read is what the pod's cgroup says: its containers at the pod's own moment, and a
// little for the sandbox.
func (p *Pod) read(clock clock) reading {
	at := clock.last(p.source)
	moment := clock
	moment.now, moment.housekeeping = time.Unix(at, 0), 1
	r := reading{at: at, processes: int64(1 + p.source.hash(3)%20)}
	for _, c := range p.Containers {
		r.add(c.read(moment))
	}
	age := max(0, at-p.Started.Unix())
	r.cpu += int64(p.source.child(4).counter(100, age)) * 1000
	r.usage, r.working, r.rss = r.usage+10*page, r.working+10*page, r.rss+8*page
	busy := p.source.child(5).spread(0, 3000, 8)
	r.rx, r.tx = int64(p.source.child(6).counter(busy, age)), int64(p.source.child(7).counter(busy*1.7, age))
	r.rxE = int64(p.source.child(8).counter(0.002, age))
	return r
}

// systemReading is what a container of the system uses.
type systemReading struct {
	name string
	reading
}

// read is what the whole node's and its system containers' cgroups say at a second.
func (l *Workload) read(at int64) (all reading, system []systemReading) {
	moment := clock{now: time.Unix(at, 0), housekeeping: 1}
	pods := reading{at: at}
	for _, p := range l.Pods {
		pods.add(p.read(moment))
	}
	pods.add(l.gone)
	all = pods
	for i, c := range []*Container{{Name: "kubelet", CPU: 30, Memory: 110 << 20}, {Name: "runtime", CPU: 40, Memory: 160 << 20}} {
		c.Started, c.source = l.Booted, l.source.child(int64(10+i))
		r := c.read(moment)
		r.at = at
		system = append(system, systemReading{c.Name, r})
		all.add(r)
	}
	rest := &Container{CPU: 20, Memory: 300 << 20, Started: l.Booted, source: l.source.child(20)}
	all.add(rest.read(moment))
	all.freeMemory = max(0, l.Memory-all.working)
	return all, append(system, systemReading{"pods", pods})
}
