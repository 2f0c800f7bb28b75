package aggregator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// stage is a State and what readers make of its changes.
type stage struct {
	state *State
	batch Batch
	live  map[object.Key]object.Packed
}

func newStage() *stage { return &stage{state: NewState(), live: map[object.Key]object.Packed{}} }

// merge merges items and returns the changes as text.
func (s *stage) merge(texts ...string) string {
	s.state.Merge(items(texts...), &s.batch)
	return s.take()
}

// list adopts a list at version and returns the changes as text.
func (s *stage) list(version object.Version, heads ...string) string {
	listed := object.Listed{Version: version}
	bodies := map[object.Key]object.Packed{}
	for _, item := range items(heads...) {
		listed.Items = append(listed.Items, itemOf(item.Packed))
		bodies[item.Packed.Key] = item.Packed
	}
	found := s.state.Compare(&listed, nil)
	s.state.Adopt(&listed, &found, bodies, &s.batch)
	return s.take()
}

func (s *stage) take() string {
	var changes []string
	for _, piece := range s.batch.finish(s.state) {
		for _, change := range piece.changes {
			sign := map[object.EventType]string{object.Added: "+", object.Modified: "~"}[change.Type]
			changes = append(changes, sign+headText(change.Object.Head))
			s.live[change.Object.Key] = change.Object
			if change.Type == object.Deleted {
				delete(s.live, change.Object.Key)
			}
		}
	}
	s.batch.Reset()
	return strings.ReplaceAll(strings.Join(changes, " "), "a/", "")
}

// Each step is "log …" or "list R …" and leads to exactly these changes.
func TestMerge(t *testing.T) {
	type step struct{ does, changes string }
	f := func(name string, steps ...step) {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			s.merge("begin L1", "a/x@10", "a/y@11", "end 20")
			for _, step := range steps {
				words := strings.Fields(strings.NewReplacer("begin ", "begin_", "end ", "end_", "at ", "at_").Replace(step.does))
				for i := range words {
					words[i] = strings.Replace(words[i], "_", " ", 1)
				}
				var got string
				if words[0] == "list" {
					got = s.list(object.Version(words[1]), words[2:]...)
				} else {
					got = s.merge(words[1:]...)
				}
				if got != step.changes {
					t.Errorf("%s: changes %q, want %q", step.does, got, step.changes)
				}
			}
			for key, e := range s.state.heads {
				if p, live := s.live[key]; live == e.deleted || live && (p.Version != e.version || p.UID != e.uid) {
					t.Errorf("%v: readers have %v, the state %+v", key, p.Head, *e)
				}
			}
		})
	}
	f("a higher version wins, once", step{"log a/x@21", "~x@21(x#)"}, step{"log a/x@21", ""}, step{"log a/x@15", ""})
	f("a deletion stays", step{"log -a/x@22", "-x@22(x#)"}, step{"log a/x@21", ""}, step{"log -a/x@22", ""}, step{"log a/x@23#2", "+x@23(x#2)"})
	f("a deletion that is known first", step{"log -a/n@25", ""}, step{"log a/n@24", ""})
	f("a deletion that the floor has passed",
		step{"log a/n@21 -a/n@22", "+n@21(n#) -n@22(n#)"}, step{"list 30 a/x@10 a/y@11", ""}, step{"log a/n@21", ""})
	f("the floor itself", step{"list 30 a/x@30 a/y@11", "~x@30(x#)"}, step{"log -a/x@30", ""}, step{"log a/n@30", ""}, step{"log a/n@31", "+n@31(n#)"})
	f("a tombstone above the floor is kept",
		step{"log a/n@28 a/n@31 -a/n@32", "+n@28(n#) ~n@31(n#) -n@32(n#)"}, step{"list 30 a/x@10 a/y@11 a/n@28", ""},
		step{"log a/n@28", ""}, step{"log a/n@31", ""}, step{"list 32 a/x@10 a/y@11", ""})
	f("another life", step{"log a/x@21#2", "-x@21(x#) +x@21(x#2)"}, step{"log -a/x@20", ""}, step{"log -a/x@23#3", "-x@23(x#2)"})
	f("a list repairs", step{"list 30 a/x@25 a/n@26 a/z@27", "-y@30(y#) +n@26(n#) +z@27(z#) ~x@25(x#)"}, step{"log a/y@11 a/x@10", ""})
	f("a list knows nothing of what came after it",
		step{"log a/x@31 a/n@32 -a/y@33", "~x@31(x#) +n@32(n#) -y@33(y#)"}, step{"list 30 a/x@10 a/y@11", ""})
	f("a list at the same version as another", step{"list 20 a/x@10 a/y@11 a/n@12", "+n@12(n#)"}, step{"list 20 a/x@10 a/y@11", "-n@20(n#)"})
	f("a resync removes what it does not name", step{"log begin L1 a/x@10 end 30", "-y@30(y#)"}, step{"log a/y@11", ""})
	f("a resync keeps what is newer than it",
		step{"log a/n@31", "+n@31(n#)"}, step{"log begin L1 a/x@10 end 30", "-y@30(y#)"})
	f("a resync keeps what came while it ran",
		step{"log begin L1 a/x@10 a/n@25 a/m@26 -a/m@27 end 30", "+n@25(n#) +m@26(m#) -m@27(m#) -y@30(y#)"})
	f("a resync out of order", step{"log begin L1 -a/x@26 a/x@10 a/y@28 a/y@11 end 30", "-x@26(x#) ~y@28(y#)"})
	f("an unfinished resync names nothing for the next",
		step{"log begin L1 a/x@10", ""}, step{"log begin L1 a/y@11 end 30", "-x@30(x#)"})
	f("a list overtakes a resync",
		step{"list 40 a/y@35 a/n@36", "-x@40(x#) +n@36(n#) ~y@35(y#)"},
		step{"log begin L1 a/x@10 a/y@11", ""}, step{"log -a/x@38 end 30", ""}, step{"log a/n@41", "~n@41(n#)"})
	f("a new lineage goes back",
		step{"log begin L2 a/x@3", "~x@3(x#)"}, step{"log a/n@4#2 end 5", "+n@4(n#2) -y@5(y#)"}, step{"log a/x@6", "~x@6(x#)"})
	f("a new lineage begins twice",
		step{"log begin L2 a/x@8", "~x@8(x#)"}, step{"log begin L2 a/x@4 end 5", "~x@4(x#) -y@5(y#)"})
	f("a new lineage forgets tombstones", step{"log -a/x@30", "-x@30(x#)"}, step{"log begin L2 a/y@3 end 5", "~y@3(y#)"}, step{"log a/x@6", "+x@6(x#)"})
	f("a rewrite", step{"log rewrite L1 a/x@10 a/y@11 end 30", "~x@10(x#) ~y@11(y#)"}, step{"log a/x@10", ""})
	f("a rewrite and a deletion", step{"log -a/x@25", "-x@25(x#)"}, step{"log rewrite L1 -a/x@25 a/y@11 end 30", "~y@11(y#)"})
	f("an end without a begin", step{"log end 30", ""}, step{"log a/x@25", "~x@25(x#)"})
}

// Positions move with the marks, and only when all before them is merged.
func TestPositions(t *testing.T) {
	s := newStage()
	f := func(want object.Version, texts ...string) {
		t.Helper()
		if s.merge(texts...); s.state.position != want {
			t.Errorf("after %v: at %q, want %q", texts, s.state.position, want)
		}
	}
	f("", "a/x@10", "at 10")
	f("", "begin L1", "a/x@10", "at 15")
	f("20", "end 20")
	f("20", "a/x@21")
	f("21", "at 21")
	f("21", "at 20")
	f("21", "begin L1", "a/x@21", "at 25")
	f("30", "end 30")
	s.state.Gap()
	f("30", "at 31")
	f("40", "begin L1", "end 40")
	f("", "begin L2", "at 50")
	f("5", "end 5")
}

// A state that was loaded goes on as the one that was written.
func TestLoad(t *testing.T) {
	heads := []object.Head{
		packed("a/x@10").Head, packed("a/x@10").Head, packed("-a/y@21").Head, packed("-a/old@19").Head,
		packed("a/both@30").Head, packed("-a/both@29").Head,
	}
	state := object.SnapshotState{Synced: true, Lineage: "L1", Floor: "20", Freshness: object.Freshness{Streamed: "30", Verified: "15"}}
	for range 2 {
		slices.Reverse(heads)
		s, err := Load(state, func(yield func(object.Head, error) bool) {
			for _, head := range heads {
				if !yield(head, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, key := range s.keys(func(*head) bool { return true }) {
			e := s.heads[key]
			got = append(got, headText(object.Head{Key: key, UID: e.uid, Version: e.version, Deleted: e.deleted}))
		}
		if diff := cmp.Diff([]string{"a/both@30(a/both#)", "a/x@10(a/x#)", "-a/y@21(a/y#)"}, got); diff != "" {
			t.Error(diff)
		}
		if s.live != 2 || s.floor != "20" || s.position != "30" || len(s.garbage) != 1 {
			t.Errorf("%+v", s)
		}
	}
	failure := errors.New("connection refused")
	if _, err := Load(state, func(yield func(object.Head, error) bool) { yield(object.Head{}, failure) }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
}

// A step of any size becomes pieces that are each small, and none is lost.
func TestPieces(t *testing.T) {
	s, b := NewState(), &Batch{}
	log := items("begin L1")
	for i := range 5000 {
		log = append(log, items(fmt.Sprintf("a/%d@%d", i, i+1))...)
	}
	s.Merge(append(log, items("end 5000")...), b)
	f := func(changes, forgotten int) {
		t.Helper()
		pieces := b.finish(s)
		for _, p := range pieces {
			if len(p.changes) > maxChanges || len(p.forgotten) > maxForgotten || len(p.tombstones) > maxForgotten {
				t.Errorf("a piece of %d changes, %d tombstones, %d forgotten", len(p.changes), len(p.tombstones), len(p.forgotten))
			}
			changes -= len(p.changes)
			forgotten -= len(p.forgotten)
		}
		if changes != 0 || forgotten != 0 {
			t.Errorf("%d changes and %d forgotten are lacking", changes, forgotten)
		}
		if n, bytes := b.Changes(); n > 0 && bytes == 0 {
			t.Error("no bytes")
		}
		b.Reset()
	}
	f(5000, 5000) // they might have had tombstones
	log = nil
	for i := range 5000 {
		log = append(log, items(fmt.Sprintf("-a/%d@%d", i, 6000+i))...)
	}
	s.Merge(log, b)
	f(5000, 0)
	s.Merge(items("begin L1", "end 12000"), b)
	f(0, maxForgotten) // there is time for the others
	s.Merge(items("begin L2"), b)
	f(0, 5000-maxForgotten) // before the lineage is synced nothing of the old one may be left
	big := packed("a/big@7")
	big.Data = make([]byte, maxBytes)
	s.Merge([]object.LogItem{{Kind: object.ItemRecord, Packed: big}, {Kind: object.ItemRecord, Packed: packed("a/x@8")}}, b)
	if got := len(b.finish(s)); got != 2 {
		t.Errorf("%d pieces", got)
	}
}
