package main

import (
	"math/big"
	"time"
)

// The columns of a report, in their order.
const (
	cpuUsed = iota
	cpuRequested
	cpuBilled
	memoryUsed
	memoryRequested
	memoryBilled
	gpuTime
	gpuMemory
	ephemeralUsed
	claimsRequested
	networkIn
	networkOut
	podTime
	amountsN
)

var amountNames = [amountsN]string{
	"cpu_used_core_hours", "cpu_requested_core_hours", "cpu_billed_core_hours",
	"memory_used_gib_hours", "memory_requested_gib_hours", "memory_billed_gib_hours",
	"gpu_hours", "gpu_memory_gib_hours", "ephemeral_used_gib_hours", "claims_requested_gib_hours",
	"network_in_gib", "network_out_gib", "pod_hours",
}

// bill is what one thing came to, in the columns' units, exactly.
type bill struct {
	amounts                      [amountsN]*big.Rat
	samples, expected, estimated int64
	cost                         *big.Rat
}

func newBill() *bill {
	b := &bill{cost: new(big.Rat)}
	for i := range b.amounts {
		b.amounts[i] = new(big.Rat)
	}
	return b
}

func (b *bill) add(other *bill) {
	for i := range b.amounts {
		b.amounts[i].Add(b.amounts[i], other.amounts[i])
	}
	b.samples, b.expected, b.estimated = b.samples+other.samples, b.expected+other.expected, b.estimated+other.estimated
	b.cost.Add(b.cost, other.cost)
}

// put adds value × time; of the network, whose time is 1 hour, the value alone.
func (b *bill) put(column int, value int64, d time.Duration) {
	per := big.NewRat(1, 1)
	switch column {
	case cpuUsed, cpuRequested, cpuBilled:
		per = big.NewRat(1, 1000)
	case gpuTime, podTime:
	case gpuMemory:
		per = big.NewRat(1, 1024)
	default:
		per = big.NewRat(1, gib)
	}
	amount := new(big.Rat).SetInt64(value)
	amount.Mul(amount, per).Mul(amount, big.NewRat(int64(d), int64(time.Hour)))
	b.amounts[column].Add(b.amounts[column], amount)
}

func (b *bill) atLeast(column int, value *big.Rat) {
	if b.amounts[column].Cmp(value) < 0 {
		b.amounts[column].Set(value)
	}
}

// billKey names what a bill is of.
type billKey struct{ kind, namespace, pod, uid, container, label string }

// held is how much of [from, to) lies within the pod's life from being scheduled on.
func (s *story) held(born, ended float64, from, to time.Time) time.Duration {
	begin, end := s.seconds(born).Truncate(time.Millisecond), s.seconds(ended).Truncate(time.Millisecond)
	if ended <= 0 {
		end = to
	}
	if begin.Before(from) {
		begin = from
	}
	if end.After(to) {
		end = to
	}
	return max(0, end.Sub(begin))
}

// find returns the samples of a metric of a pod, or of one of its containers.
func (s *story) find(p *pod, metric, level, container string, from, to int64) (found []*series, there []load) {
	for _, one := range s.series {
		if one.pod == p && one.metric == metric && one.level == level && one.container == container {
			if l := s.sampled(one, from, to); len(l) > 0 {
				found, there = append(found, one), append(there, l)
			}
		}
	}
	return found, there
}

// resource fills the three columns of CPU or memory of a pod or container from samples.
func (s *story) resource(b *bill, p *pod, usage, request, level, container string, column int, from, to int64) (sampled bool) {
	used, usedAt := s.find(p, usage, level, container, from, to)
	_, requestAt := s.find(p, request, level, container, from, to)
	for i, l := range usedAt {
		row := &sums{}
		s.addTo(row, used[i], l, from, to)
		b.put(column, row.sum, s.every)
		b.samples, b.expected = b.samples+row.samples, b.expected+row.expected
	}
	for i, l := range requestAt { // there are as many as of usage
		b.put(column+1, l.sum(), s.every)
		for _, p := range l { // requests are constant in between
			b.put(column+2, usedAt[i].on([]span{{p.from, p.to}}).atLeast(p.first), s.every)
		}
	}
	return len(usedAt)+len(requestAt) > 0
}

// bills is what the pods of [from, to) came to: each, or by container each of theirs.
func (s *story) bills(from, to time.Time, byContainer bool) map[billKey]*bill {
	all := map[billKey]*bill{}
	a, z := s.window(from), s.window(to)
	for _, p := range s.pods {
		whole := newBill()
		key := billKey{kind: "pods", namespace: p.namespace, pod: p.name, uid: p.uid, label: p.team}
		sampled := false
		level, boxes := podLevel, []string{""}
		if byContainer {
			level, boxes = container, nil
			for _, b := range p.containers {
				boxes = append(boxes, b.name)
			}
		}
		for _, name := range boxes {
			part := whole
			if byContainer {
				part = newBill()
			}
			got := s.resource(part, p, "cpu/usage_rate", "cpu/request", level, name, cpuUsed, a, z)
			got = s.resource(part, p, "memory/usage", "memory/request", level, name, memoryUsed, a, z) || got
			s.gpus(part, p, level, name, a, z)
			sampled = sampled || got
			if byContainer && got {
				of := key
				of.container = name
				all[of] = part
			}
		}
		s.rest(whole, p, byContainer, a, z)
		if s.living(whole, p, sampled, byContainer, from, to) || sampled {
			all[key] = whole
		}
	}
	return all
}

// gpus adds time and memory of GPUs.
func (s *story) gpus(b *bill, p *pod, level, name string, from, to int64) {
	_, requested := s.find(p, "nvidia.com/gpu/request", level, name, from, to)
	for _, l := range requested {
		b.put(gpuTime, l.sum(), s.every)
	}
	rows := new(big.Rat)
	for _, box := range p.containers {
		if level == container && box.name != name {
			continue
		}
		_, there := s.find(p, "gpu/usage", container, box.name, from, to)
		for _, l := range there {
			b.put(gpuMemory, l.sum(), s.every)
			rows.Add(rows, big.NewRat(l.count()*int64(s.every), int64(time.Hour)))
		}
	}
	b.atLeast(gpuTime, rows)
}

// rest adds what only pods have.
func (s *story) rest(b *bill, p *pod, byContainer bool, from, to int64) {
	for metric, column := range map[string]int{"network/rx": networkIn, "network/tx": networkOut} {
		found, there := s.find(p, metric, podLevel, "", from, to)
		for i, l := range there {
			row := &sums{}
			s.addTo(row, found[i], l, from, to)
			b.put(column, row.rise, time.Hour)
		}
	}
	if _, there := s.find(p, "ephemeral_storage/usage", podLevel, "", from, to); len(there) > 0 && !byContainer {
		b.put(ephemeralUsed, there[0].sum(), s.every)
	}
	for _, metric := range []string{"memory/usage", "memory/request"} {
		if _, there := s.find(p, metric, podLevel, "", from, to); len(there) > 0 {
			b.atLeast(podTime, big.NewRat(there[0].count()*int64(s.every), int64(time.Hour)))
		}
	}
}

// living puts in what is exact because the pod's life is known; false if it did not live
// within [from, to).
func (s *story) living(b *bill, p *pod, sampled, byContainer bool, from, to time.Time) bool {
	held := s.held(p.born, p.ended, from, to)
	if !p.living || held <= 0 {
		return false
	}
	life := newBill()
	life.put(podTime, 1, held)
	life.put(gpuTime, p.gpu, held)
	b.amounts[podTime].Set(life.amounts[podTime])
	for column, value := range map[int]int64{cpuUsed: p.cpu, memoryUsed: p.memory} {
		life.put(column, value, held)
		if column == cpuUsed && p.resized > 0 {
			life.put(column, p.cpuLater-p.cpu, s.held(p.resized, p.ended, from, to))
		}
		requested := life.amounts[column]
		switch {
		case !sampled: // it is taken to have used what it requested
			for i := range 3 {
				b.amounts[column+i].Set(requested)
			}
		case !byContainer: // what was not sampled is billed as requested
			b.amounts[column+2].Add(b.amounts[column+2], requested).Sub(b.amounts[column+2], b.amounts[column+1])
			b.amounts[column+1].Set(requested)
			b.atLeast(column+2, b.amounts[column])
		}
	}
	if !sampled || !byContainer {
		b.atLeast(gpuTime, life.amounts[gpuTime])
	}
	if !sampled {
		b.estimated = 1
	}
	return true
}

// shares are the lines of what nodes used beside pods, and of what was left.
func (s *story) shares(pods *bill, from, to int64) (system, idle *bill) {
	system, idle = newBill(), newBill()
	of := func(metric string, column int) *big.Rat {
		sum := newBill()
		for _, one := range s.series {
			if one.level == nodeLevel && one.metric == metric {
				sum.put(column, s.sampled(one, from, to).sum(), s.every)
			}
		}
		return sum.amounts[column]
	}
	left := func(z, whole *big.Rat, parts ...*big.Rat) {
		z.Set(whole)
		for _, part := range parts {
			z.Sub(z, part)
		}
		if z.Sign() < 0 {
			z.SetInt64(0)
		}
	}
	for name, column := range map[string]int{"cpu": cpuUsed, "memory": memoryUsed} {
		usage := map[string]string{"cpu": "cpu/usage_rate", "memory": "memory/usage"}[name]
		capacity := of(name+"/node_capacity", column)
		left(system.amounts[column], of(usage, column), pods.amounts[column])
		left(system.amounts[column+1], capacity, of(name+"/node_allocatable", column))
		system.amounts[column+2].Set(system.amounts[column])
		system.atLeast(column+2, system.amounts[column+1])
		for i := range 3 {
			left(idle.amounts[column+i], capacity, pods.amounts[column+i], system.amounts[column+i])
		}
	}
	return system, idle
}
