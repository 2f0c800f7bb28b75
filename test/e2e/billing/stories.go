package main

import "time"

// The clusters of the stories.
const (
	recentCluster  = "story-recent"  // the three days before today
	monthCluster   = "story-month"   // the end of the last month
	plantedCluster = "story-planted" // in which one pod is written twice
)

const day = 24 * time.Hour

// recently is the story of three whole days before now, a sample a minute.
func recently(now time.Time) *story {
	begin := now.Add(-time.Hour).UTC().Truncate(day).Add(-3 * day)
	s := &story{
		cluster: recentCluster, begin: begin, every: time.Minute, windows: 3 * 1440, nodes: []string{"n1", "n2"},
		gaps: []span{{700, 725}, {1438, 1443}, {2100, 2101}, {3000, 3075}},
		late: []span{{3480, 3500}, {3700, 3701}},
	}
	n := s.windows
	twoBoxes := func(at span, app, side load) []*box {
		return []*box{
			{
				name: "app", cpu: app, memory: hills(at.from, at.to, 200*mib, 4096, 360), cpuReq: constant(at.from, at.to, 250), memReq: constant(at.from, at.to, 256*mib),
				disks: []*disk{{"/", line(at.from, at.to, gib, 40960)}, {"logs", constant(at.from, at.to, 3*mib)}},
			},
			{name: "side", cpu: side, memory: constant(at.from, at.to, 32*mib), cpuReq: constant(at.from, at.to, 50), memReq: constant(at.from, at.to, 64*mib)},
		}
	}
	add := func(p *pod, before, after float64) { s.add(p.life(s, before, after)) }

	// All the time, with a sawtooth; it began an hour before the story.
	all := span{0, n}
	web := &pod{
		namespace: "shop", name: "web-0", uid: "r-web-0", node: "n1", team: "red", cpu: 300, memory: 320 * mib, seen: []span{all}, overhead: 2,
		containers: twoBoxes(all, sawtooth(0, n, 120, 4, 45), constant(0, n, 7)), rx: 123456789, tx: 3000, ephemeral: sawtooth(0, n, gib, mib, 600),
		volumes: []*disk{{"Volume:data", line(0, n, 5*gib, 4096)}},
	}
	add(web, 3600, 90)
	// Up and down, and its containers start again.
	web1 := &pod{
		namespace: "shop", name: "web-1", uid: "r-web-1", node: "n2", team: "red", cpu: 300, memory: 320 * mib, seen: []span{all}, overhead: 3,
		containers: twoBoxes(all, hills(0, n, 100, 2, 480), hills(0, n, 2, 2, 30)), rx: 1 << 21, tx: 77, ephemeral: constant(0, n, 100*mib),
	}
	web1.containers[0].restarts, web1.containers[1].restarts = []int64{500, 1741, 1950, 3650}, []int64{1500}
	add(web1, 7200.5, 59.5)
	// A name that is used again, by another pod; both live across a midnight.
	first := span{1380, 1500}
	add(&pod{
		namespace: "shop", name: "db-0", uid: "r-db-first", node: "n1", team: "blue", cpu: 300, memory: 320 * mib, seen: []span{first},
		containers: twoBoxes(first, line(1380, 1500, 700, -2), constant(1380, 1500, 9)), rx: 5000, tx: 5000, ephemeral: constant(1380, 1500, 7*mib),
	}, 12.25, 33)
	second := span{1601, 4000}
	add(&pod{
		namespace: "shop", name: "db-0", uid: "r-db-second", node: "n2", team: "blue", cpu: 300, memory: 320 * mib, seen: []span{second},
		containers: twoBoxes(second, line(1601, 4000, 50, 2), constant(1601, 4000, 11)), rx: 7000, tx: 8000, ephemeral: constant(1601, 4000, 9*mib),
	}, 20, 1)
	// A pod whose node did not answer at times.
	add(&pod{
		namespace: "shop", name: "holes", uid: "r-holes", node: "n1", team: "red", cpu: 300, memory: 320 * mib,
		seen: holes(300, 4100, span{1000, 1010}, span{2500, 2700}), containers: twoBoxes(span{300, 4100}, sawtooth(300, 4100, 10, 10, 60), constant(300, 4100, 1)),
		rx: 999, tx: 1001, ephemeral: constant(300, 4100, mib),
	}, 47, 5)
	// One container, in whole constants.
	crunch := span{601, 2000}
	add(&pod{
		namespace: "batch", name: "crunch", uid: "r-crunch", node: "n2", team: "blue", cpu: 1000, memory: gib, seen: []span{crunch}, rx: 1, tx: 1, ephemeral: constant(601, 2000, 0),
		containers: []*box{{name: "main", cpu: constant(601, 2000, 1800), memory: constant(601, 2000, 700*mib), cpuReq: constant(601, 2000, 1000), memReq: constant(601, 2000, gib)}},
	}, 25, 40)
	// A pod that is resized in place, between two samples.
	const resized = 2000
	grown := constant(500, resized, 200).then(constant(resized, 3900, 450))
	add(&pod{
		namespace: "research", name: "grows", uid: "r-grows", node: "n1", team: "blue", cpu: 200, cpuLater: 450, resized: (resized - 0.5) * 60, memory: 128 * mib, seen: []span{{500, 3900}}, rx: 3, tx: 2,
		ephemeral: constant(500, 3900, mib), containers: []*box{{name: "main", cpu: hills(500, 3900, 100, 2, 300), memory: constant(500, 3900, 99*mib), cpuReq: grown, memReq: constant(500, 3900, 128*mib)}},
	}, 20, 5)
	// GPUs.
	training := span{100, 3000}
	add(&pod{
		namespace: "ml", name: "train-0", uid: "r-train-0", node: "n2", team: "green", cpu: 2000, memory: 4 * gib, gpu: 2, seen: []span{training}, rx: 4096, tx: 1, ephemeral: constant(100, 3000, 20*gib),
		containers: []*box{{
			name: "main", cpu: hills(100, 3000, 1500, 4, 400), memory: line(100, 3000, gib, mib), cpuReq: constant(100, 3000, 2000), memReq: constant(100, 3000, 4*gib),
			gpus: []*disk{{"GPU-aa", sawtooth(100, 3000, 1000, 8, 90)}, {"GPU-bb", constant(200, 2900, 40960)}},
		}},
	}, 31, 7)
	// A pod of whose life nothing is known.
	s.add(&pod{
		namespace: "ml", name: "nolife", uid: "r-nolife", node: "n1", team: "green", seen: []span{{50, 400}}, rx: 10, tx: 10, ephemeral: constant(50, 400, mib),
		containers: []*box{{name: "main", cpu: constant(50, 400, 333), memory: constant(50, 400, 55*mib), cpuReq: constant(50, 400, 100)}},
	})
	// No CPU requested, no team.
	add(&pod{
		namespace: "kube-system", name: "dns", uid: "r-dns", node: "n1", memory: 70 * mib, seen: []span{all}, rx: 640, tx: 320, ephemeral: constant(0, n, 0),
		containers: []*box{{name: "dns", cpu: sawtooth(0, n, 2, 2, 10), memory: constant(0, n, 21*mib), memReq: constant(0, n, 70*mib)}},
	}, 86400, 100)
	// Pods that no scrape saw.
	unseen := func(namespace, name, uid, team string, born, lived float64, cpu, memory, gpu int64) {
		s.add(&pod{
			namespace: namespace, name: name, uid: uid, node: "n1", team: team, cpu: cpu, memory: memory, gpu: gpu,
			unseen: true, living: true, born: born - 3, started: born, ended: born + lived,
		})
	}
	unseen("batch", "job-a", "r-job-a", "blue", 30605, 36, 1000, 2*gib, 0)
	unseen("batch", "job-b", "r-job-b", "blue", 2*86400-8, 20.5, 500, gib, 0) // across a midnight
	unseen("batch", "job-b", "r-job-b2", "red", 2*86400+70, 40, 750, gib, 0)  // the name again
	unseen("ml", "job-c", "r-job-c", "green", 100000, 45.123, 4000, 8*gib, 1)
	unseen("lonely", "job-d", "r-job-d", "", 200000, 50, 100, 64*mib, 0)
	s.sums(150, 500*mib)
	return s
}

// lastMonth is the story of the last three days of the last month, a sample every five
// minutes: a month that is closed.
func lastMonth(now time.Time) *story {
	here := now.UTC()
	end := time.Date(here.Year(), here.Month(), 1, 0, 0, 0, 0, time.UTC)
	s := &story{cluster: monthCluster, begin: end.Add(-3 * day), every: 5 * time.Minute, windows: 3 * 288, nodes: []string{"m1"}, gaps: []span{{100, 105}, {575, 578}}}
	n := s.windows
	for _, name := range []string{"alpha", "beta"} {
		p := &pod{
			namespace: "month-" + name, name: "app", uid: "m-" + name, node: "m1", team: name, cpu: 400, memory: 512 * mib, seen: []span{{0, n}}, rx: 31337, tx: 4242, ephemeral: constant(0, n, 2*gib),
			containers: []*box{{
				name: "app", cpu: sawtooth(0, n, 100, 14, 36), memory: line(0, n, 100*mib, 65536), cpuReq: constant(0, n, 400), memReq: constant(0, n, 512*mib),
				disks: []*disk{{"/", constant(0, n, gib)}},
			}},
		}
		s.add(p.life(s, 100, 10))
	}
	s.add(&pod{
		namespace: "month-beta", name: "blink", uid: "m-blink", node: "m1", team: "beta", cpu: 123, memory: 77 * mib,
		unseen: true, living: true, born: 259100, started: 259101, ended: 259190,
	})
	s.claims = []claim{{"month-alpha", "data", 10 * gib, -86400 * 30, 0}, {"month-store", "old", 7 * gib, 3600, 90000}}
	s.sums(100, gib)
	return s
}

// twice is a small story in which one pod will be written a second time, under another
// UID: a namespace's sums are false then, and another's are not.
func twice(now time.Time) *story {
	begin := now.Add(-time.Hour).UTC().Truncate(day).Add(-day)
	s := &story{cluster: plantedCluster, begin: begin, every: 5 * time.Minute, windows: 60, nodes: []string{"p1"}}
	for _, name := range []string{"honest", "doubled"} {
		at := span{0, 60}
		p := &pod{
			namespace: "planted-" + name, name: "app", uid: "p-" + name, node: "p1", cpu: 100, memory: 64 * mib, seen: []span{at}, rx: 100, tx: 100, ephemeral: constant(0, 60, mib),
			containers: []*box{{name: "app", cpu: constant(0, 60, 60), memory: constant(0, 60, 32*mib), cpuReq: constant(0, 60, 100), memReq: constant(0, 60, 64*mib)}},
		}
		s.add(p.life(s, 10, 10))
	}
	s.sums(10, mib)
	return s
}
