package source

import (
	"regexp"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The names of filesystems that every node has.
const (
	rootName = "resource_id:/"
	logsName = "resource_id:logs"
)

// reading is what was read of an entity so far. Entities stand in one another, so that
// their values come mixed.
type reading struct {
	start           int64
	cpuAt, memoryAt int64
	networkAt       int64
	values          []Value
	labelled        []Labelled
}

func (r *reading) clear() {
	r.start, r.cpuAt, r.memoryAt, r.networkAt = 0, 0, 0, 0
	r.values, r.labelled = r.values[:0], r.labelled[:0]
}

func (r *reading) set(id metrics.ID, bits int64) { r.values = append(r.values, Value{id, bits}) }

// times adds what follows from the times of all sections. The age is told by the
// kubelet's own clock: ours may be another.
func (r *reading) times() {
	for _, at := range [...]Value{
		{metrics.StartTime, r.start},
		{metrics.CPUTime, r.cpuAt},
		{metrics.MemoryTime, r.memoryAt},
		{metrics.NetworkTime, r.networkAt},
	} {
		if at.Bits != 0 {
			r.values = append(r.values, at)
		}
	}
	now := r.cpuAt
	if now == 0 {
		now = r.memoryAt
	}
	if now == 0 {
		now = r.networkAt
	}
	if r.start != 0 && now >= r.start {
		r.set(metrics.Uptime, (now-r.start)/1e6)
	}
}

// put adds a set to the sample and returns its place.
func (s *summary) put(set Set) int {
	s.sample.Sets = append(s.sample.Sets, set)
	return len(s.sample.Sets) - 1
}

// fill gives the set what was read of it.
func (s *summary) fill(at int, r *reading) {
	r.times()
	set := &s.sample.Sets[at]
	set.Values = s.sample.values.copy(r.values)
	set.Labelled = s.sample.labelled.copy(r.labelled)
}

// startOf is when a set's collection started; 0 if it does not say.
func startOf(set *Set) int64 {
	for _, v := range set.Values {
		if v.ID == metrics.StartTime {
			return v.Bits
		}
	}
	return 0
}

func (s *summary) intern(name []byte) string { return s.decoder.names.get(name, s.now) }

// counted reads a number as a value of r.
func (s *summary) counted(r *reading, id metrics.ID) {
	if n, ok := s.number(); ok {
		r.set(id, n)
	}
}

func (s *summary) cpu(r *reading) {
	if !s.enter('{') {
		return
	}
	for s.field() {
		switch string(s.name) {
		case "time":
			r.cpuAt = s.time()
		case "usageCoreNanoSeconds":
			s.counted(r, metrics.CPUUsage)
		case "usageNanoCores":
			s.counted(r, metrics.CPUNanoCores)
		default:
			s.skip()
		}
	}
}

func (s *summary) memory(r *reading) {
	if !s.enter('{') {
		return
	}
	for s.field() {
		switch string(s.name) {
		case "time":
			r.memoryAt = s.time()
		case "usageBytes":
			s.counted(r, metrics.MemoryUsage)
		case "workingSetBytes":
			s.counted(r, metrics.MemoryWorkingSet)
		case "rssBytes":
			s.counted(r, metrics.MemoryRSS)
		case "pageFaults":
			s.counted(r, metrics.MemoryPageFaults)
		case "majorPageFaults":
			s.counted(r, metrics.MemoryMajorPageFaults)
		default:
			s.skip()
		}
	}
}

// filesystem reads a section of a filesystem into a row of r with that name, and
// returns its bytes used. Without r it only returns them.
func (s *summary) filesystem(r *reading, name string) (used int64, ok bool) {
	if !s.enter('{') {
		return 0, false
	}
	from := s.sample.values.begin()
	for s.field() {
		if id, known := filesystemMetric(string(s.name)); known {
			n, there := s.number()
			if id == metrics.FilesystemUsage {
				used, ok = n, there
			}
			if there && r != nil {
				s.sample.values.add(Value{id, n})
			}
			continue
		}
		if name == "" && r != nil && string(s.name) == "name" { // a volume says its own
			name = s.labelName("resource_id:Volume:", s.quoted())
			continue
		}
		s.skip()
	}
	if values := s.sample.values.since(from); r != nil && len(values) > 0 && name != "" {
		r.labelled = append(r.labelled, Labelled{metrics.Filesystem, name, values})
	}
	return used, ok
}

func filesystemMetric(name string) (metrics.ID, bool) {
	switch name {
	case "usedBytes":
		return metrics.FilesystemUsage, true
	case "capacityBytes":
		return metrics.FilesystemLimit, true
	case "availableBytes":
		return metrics.FilesystemAvailable, true
	case "inodes":
		return metrics.FilesystemInodes, true
	case "inodesFree":
		return metrics.FilesystemInodesFree, true
	}
	return 0, false
}

func (s *summary) volumes(r *reading) {
	if !s.enter('[') {
		return
	}
	for s.element(']') {
		s.filesystem(r, "")
	}
}

// labelName is a row's name: what follows a label's value belongs to the next.
func (s *summary) labelName(prefix string, value []byte) string {
	if len(value) == 0 {
		return ""
	}
	s.text = appendLabel(append(s.text[:0], prefix...), value)
	return s.intern(s.text)
}

// appendLabel adds a label's value, which may have no comma: one ends it.
func appendLabel(to, value []byte) []byte {
	for _, c := range value {
		if c == ',' {
			c = '_'
		}
		to = append(to, c)
	}
	return to
}

func (s *summary) accelerators(r *reading) {
	if !s.enter('[') {
		return
	}
	for s.element(']') {
		if !s.enter('{') {
			continue
		}
		var id, brand, model []byte // copied, since they stand in any order
		from := s.sample.values.begin()
		for s.field() {
			switch string(s.name) {
			case "make":
				brand = append(brand, s.quoted()...)
			case "model":
				model = append(model, s.quoted()...)
			case "id":
				id = append(id, s.quoted()...)
			case "memoryTotal":
				s.addValue(metrics.AcceleratorMemoryTotal)
			case "memoryUsed":
				s.addValue(metrics.AcceleratorMemoryUsed)
			case "dutyCycle":
				s.addValue(metrics.AcceleratorDutyCycle)
			default:
				s.skip()
			}
		}
		if values := s.sample.values.since(from); len(values) > 0 {
			s.text = acceleratorName(s.text[:0], id, brand, model)
			r.labelled = append(r.labelled, Labelled{metrics.Accelerator, s.intern(s.text), values})
		}
	}
}

// addValue reads a number as a value of the row that is being read.
func (s *summary) addValue(id metrics.ID) {
	if n, ok := s.number(); ok {
		s.sample.values.add(Value{id, n})
	}
}

// acceleratorName is the name of an Accelerator's row.
func acceleratorName(to, id, brand, model []byte) []byte {
	to = appendLabel(append(to, "accelerator_id:"...), id)
	to = appendLabel(append(to, ",make:"...), brand)
	return appendLabel(append(to, ",model:"...), model)
}

// network reads a section of the network: its own numbers, which are those of the
// default interface, and if it has none, the sum of the interfaces that exclude does
// not match.
func (s *summary) network(r *reading, exclude *regexp.Regexp) {
	if !s.enter('{') {
		return
	}
	var own, sum traffic
	for s.field() {
		switch string(s.name) {
		case "time":
			r.networkAt = s.time()
		case "interfaces":
			if s.enter('[') {
				for s.element(']') {
					s.networkInterface(&sum, exclude, own.has != 0)
				}
			}
		default:
			if !s.counters(&own) {
				s.skip()
			}
		}
	}
	if own.has == 0 {
		own = sum
	}
	for i, id := range trafficMetrics {
		if own.has&^own.bad&(1<<i) != 0 {
			r.set(id, own.n[i])
		}
	}
}

// traffic is what went over interfaces, in the order of trafficMetrics.
type traffic struct {
	n        [4]int64
	has, bad uint8 // bits of those that are there, and of those that are too large
}

var trafficMetrics = [...]metrics.ID{metrics.NetworkRx, metrics.NetworkRxErrors, metrics.NetworkTx, metrics.NetworkTxErrors}

// counters reads the field if it is a counter of an interface.
func (s *summary) counters(t *traffic) bool {
	var i int
	switch string(s.name) {
	case "rxBytes":
		i = 0
	case "rxErrors":
		i = 1
	case "txBytes":
		i = 2
	case "txErrors":
		i = 3
	default:
		return false
	}
	if n, ok := s.number(); ok {
		t.n[i] = n
		t.has |= 1 << i
	}
	return true
}
