package streamer

import (
	"fmt"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// merged is what a reader makes of a log, by DESIGN's one rule.
type merged struct {
	lineage  string
	synced   bool
	objects  map[object.Key]object.Record // tombstones included
	named    map[object.Key]bool
	rewrite  bool
	position object.Version
}

func (m *merged) apply(item object.LogItem) {
	switch item.Kind {
	case object.ItemResyncBegin:
		if m.lineage != item.Resync.Lineage {
			*m = merged{lineage: item.Resync.Lineage, objects: make(map[object.Key]object.Record)}
		}
		m.named, m.rewrite = make(map[object.Key]bool), item.Resync.Rewrite
	case object.ItemRecord:
		m.record(item.Record)
	case object.ItemResyncEnd:
		for key, record := range m.objects {
			if !m.named[key] && !record.Version.Newer(item.Version) {
				delete(m.objects, key)
			}
		}
		m.named, m.rewrite, m.synced = nil, false, true
		m.position = item.Version
	case object.ItemPosition:
		m.position = item.Version
	}
}

func (m *merged) record(record object.Record) {
	if m.named != nil {
		m.named[record.Key] = true
	}
	old, known := m.objects[record.Key]
	order := record.Version.Compare(old.Version)
	if !known || order > 0 || order == 0 && m.rewrite {
		m.objects[record.Key] = record
	}
}

// claim checks that nothing up to the position is missing or wrong.
func (m *merged) claim(truth map[object.Key]object.Record) error {
	for key, want := range truth {
		got, ok := m.objects[key]
		if !ok || want.Version.Newer(got.Version) {
			return fmt.Errorf("position %s is claimed, but %v is at %q and not at %s", m.position, key, got.Version, want.Version)
		}
	}
	for key, got := range m.objects {
		if _, ok := truth[key]; !ok && !got.Deleted && !got.Version.Newer(m.position) {
			return fmt.Errorf("position %s is claimed, but %v at %s is gone", m.position, key, got.Version)
		}
	}
	return nil
}

// live is the merged state without tombstones.
func (m *merged) live() map[object.Key]string {
	bodies := make(map[object.Key]string)
	for key, record := range m.objects {
		if !record.Deleted {
			bodies[key] = string(record.Body)
		}
	}
	return bodies
}

// audit merges the log, and checks every claim of the last lineage.
func audit(s *server, r *redis) (*merged, error) {
	items := r.all()
	last := ""
	for _, item := range items {
		if item.Kind == object.ItemResyncBegin {
			last = item.Resync.Lineage
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(merged)
	for _, item := range items {
		m.apply(item)
		claims := item.Kind == object.ItemResyncEnd || item.Kind == object.ItemPosition
		if claims && m.lineage == last {
			if err := m.claim(s.at(number(m.position))); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// truth is the server's state in the form of merged.live.
func (s *server) truth() map[object.Key]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bodies := make(map[object.Key]string)
	for key, record := range s.at(s.rv) {
		bodies[key] = string(record.Body)
	}
	return bodies
}
