package streamer

import (
	"cmp"
	"crypto/rand"
	"sync"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// memory is what the streamer knows beyond what the log says. It survives tenures.
type memory struct {
	mu      sync.Mutex
	pending reason         // why everything has to be read anew, "" if it has not
	wishes  int            // how often want was called
	lineage string         // to which highest belongs
	highest object.Version // of all records seen, those before the end of a list included

	inForce string          // the log's lineage as we last knew it
	retired map[string]bool // lineages that came before that one
	lost    bool            // Redis lost writes in this tenure
	severed bool            // and with them the lineage that was in force
}

// want makes the next plan a resync. The first reason stays until the resync has
// begun, but that of an etcd that went back outweighs all: it needs a new lineage.
func (m *memory) want(why reason) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wishes++
	if m.pending == "" || why == reasonRestored {
		m.pending = why
	}
}

// begun notes that the log has the beginning of the resync that was decided after
// wishes wants, and the lineage before it. What was wanted later is still wanted.
func (m *memory) begun(wishes int, lineage, before string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wishes == wishes {
		m.pending = ""
	}
	m.enforce(before)
	m.enforce(lineage)
	m.severed = false
}

// enforce notes, with m.mu held, that lineage follows those before it.
func (m *memory) enforce(lineage string) {
	if m.retired == nil {
		m.retired = make(map[string]bool)
	}
	m.retired[m.inForce] = true
	m.inForce = lineage
	delete(m.retired, lineage)
}

// lostWrites notes that Redis lost some.
func (m *memory) lostWrites() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = true
}

// took notes the lineage of a log that was taken over. If it is an older one than
// that in force, its positions are of a history that is over.
func (m *memory) took(lineage string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := m.inForce != "" && lineage != m.inForce
	m.severed = changed && (m.lost || m.retired[lineage])
	m.lost = false
	if changed && !m.severed || m.inForce == "" {
		m.enforce(lineage)
	}
}

// saw notes a record's version.
func (m *memory) saw(lineage string, version object.Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lineage != lineage {
		m.lineage, m.highest = lineage, ""
	}
	m.highest = m.highest.Newest(version)
}

// recollection is what memory knows when a log of some lineage is to go on.
type recollection struct {
	pending reason
	highest object.Version
	severed bool // Redis lost the lineage that followed the log's
	wishes  int
}

// recall returns what matters to a log of lineage.
func (m *memory) recall(lineage string) recollection {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := recollection{pending: m.pending, wishes: m.wishes, severed: m.severed}
	if m.lineage == lineage {
		r.highest = m.highest
	}
	return r
}

// cluster is what the API server says before a watch.
type cluster struct {
	uid     string         // "" if it may not be read
	schema  string         // "" if it is not known
	version object.Version // X, where a consistent list would be
}

// plan says how to go on.
type plan struct {
	reason reason         // why everything is read anew; "" goes on from after
	resync object.Resync  // with a new Lineage, if a new one is needed
	after  object.Version // the log's position in the same lineage
}

// decide is the protocol's step before every watch. Pure but for the new name.
func decide(log object.LogState, now cluster, known recollection) plan {
	last := log.Resync
	altered := now.schema != "" && last.Schema != now.schema
	next := plan{after: log.Position, resync: object.Resync{
		Lineage:    last.Lineage,
		ClusterUID: cmp.Or(now.uid, last.ClusterUID),
		Schema:     cmp.Or(now.schema, last.Schema),
		// A rewrite that did not end has rewritten a part only.
		Rewrite: altered || log.Resyncing && last.Rewrite,
	}}
	if next.reason = severed(log, now, known); next.reason != "" {
		next.resync.Lineage = rand.Text()
		next.resync.ClusterUID = now.uid
		next.resync.Rewrite = false // nothing in this lineage to rewrite
		next.after = ""
		return next
	}
	switch {
	case known.pending != "":
		next.reason = known.pending
	case log.Resyncing || log.Position == "":
		next.reason = reasonPartial
	case altered:
		next.reason = reasonSchema
	}
	return next
}

// severed says why the log's versions cannot be compared with the cluster's, or "".
func severed(log object.LogState, now cluster, known recollection) reason {
	uid := log.Resync.ClusterUID
	switch {
	case known.severed:
		return reasonLost
	case log.Resync.Lineage == "":
		return reasonFirst
	case now.uid != "" && uid != "" && now.uid != uid:
		return reasonCluster
	case known.pending == reasonRestored, log.Position.Newest(known.highest).Newer(now.version):
		return reasonRestored
	}
	return ""
}
