package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestDocumentsOnMiniredis(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	testDocuments(t, &server{options: Options{Addrs: []string{mini.Addr()}}, pass: mini.FastForward})
}

// testDocuments checks what the store promises of documents and secrets, on any Redis.
func testDocuments(t *testing.T, s *server) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"put and read", documentsRoundTrip},
		{"parts", documentsParts},
		{"unchanged", documentsUnchanged},
		{"two writers", documentsTwoWriters},
		{"another cluster", documentsOfAnotherCluster},
		{"read while they are replaced", documentsReplaced},
		{"secret", secretIsShared},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.tests++
			test.run(t, &world{t: t, server: s, prefix: fmt.Sprintf("d%d", s.tests), ctx: t.Context()})
		})
	}
}

// read is what a reader of the API server brings: path, text, … The revision of a
// text is its hash, more or less.
func read(cluster string, known object.Documents, texts ...string) object.DocumentsRead {
	r := object.DocumentsRead{ClusterUID: cluster, Revisions: map[string]string{}}
	for i := 0; i < len(texts); i += 2 {
		revision := fmt.Sprintf("%d-%.8x", len(texts[i+1]), texts[i+1])
		r.Revisions[texts[i]] = revision
		if known.ByPath[texts[i]].Revision != revision {
			r.Changed = append(r.Changed, object.Document{Path: texts[i], Revision: revision, Body: []byte(texts[i+1])})
		}
	}
	return r
}

// put stores a part as a writer does that has just looked.
func (w *world) put(s *Store, part, cluster string, texts ...string) {
	w.t.Helper()
	known, err := s.DocumentRevisions(w.ctx)
	w.check(err)
	if known.ClusterUID != cluster {
		known.ByPath = nil
	}
	r := read(cluster, known, texts...)
	known, err = s.DocumentRevisions(w.ctx)
	w.check(err)
	w.check(s.PutDocuments(w.ctx, part, known, r))
}

// texts unpacks a set.
func (w *world) texts(s *Store, set object.Documents) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for path, d := range set.ByPath {
		text, err := s.UnpackDocument(d)
		w.check(err)
		all[path] = string(text)
	}
	return all
}

func documentsRoundTrip(t *testing.T, w *world) {
	s, other := w.store(), w.store()
	empty, err := s.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(empty.Revision, "")
	long := strings.Repeat("a long document ", 1<<16)
	w.put(s, object.DiscoveryPart, "u", "/api", "{}", "/apis", long)
	set, err := other.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(w.texts(other, set), map[string]string{"/api": "{}", "/apis": long})
	w.equal(set.ClusterUID, "u")
	if age := time.Since(set.CheckedAt[object.DiscoveryPart]); age < 0 || age > time.Minute {
		t.Errorf("checked %v ago", age)
	}
	if n := len(set.ByPath["/apis"].Data); n > len(long)/100 {
		t.Errorf("%d bytes are stored for %d", n, len(long))
	}
	_, err = s.UnpackDocument(object.PackedDocument{Data: []byte("garbage")})
	w.wantErr(err, object.ErrUnreadable)

	apart := w.store(func(o *Options) { o.Prefix = w.prefix + "x" })
	set, err = apart.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(len(set.ByPath), 0)

	w.check(s.ForgetDocuments(w.ctx))
	set, err = s.Documents(w.ctx, set)
	w.check(err)
	w.equal(len(set.ByPath), 0)
}

// What a part no longer has goes; the other part stays.
func documentsParts(_ *testing.T, w *world) {
	s := w.store()
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/apis", "2", "/version", "3")
	w.put(s, object.OpenAPIPart, "u", "/openapi/v2", "4", "/openapi/v3", "5")
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/version", "33")
	w.put(s, object.OpenAPIPart, "u", "/openapi/v3", "5")
	set, err := s.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(w.texts(s, set), map[string]string{"/api": "1", "/version": "33", "/openapi/v3": "5"})
	kept, err := s.client.HLen(w.ctx, newDocumentKeys(w.prefix).bodies).Result()
	w.check(err)
	w.equal(kept, int64(3))
	w.equal(slices.Sorted(maps.Keys(set.CheckedAt)), []string{object.DiscoveryPart, object.OpenAPIPart})
}

// What has not changed moves only the time, and readers keep what they have.
func documentsUnchanged(t *testing.T, w *world) {
	s := w.store()
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/apis", "2")
	before, err := s.Documents(w.ctx, object.Documents{})
	w.check(err)
	<-time.After(2 * time.Millisecond)
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/apis", "2")
	now, err := s.DocumentRevisions(w.ctx)
	w.check(err)
	w.equal(now.Revision, before.Revision)
	if !now.CheckedAt[object.DiscoveryPart].After(before.CheckedAt[object.DiscoveryPart]) {
		t.Errorf("checked at %v, then %v", before.CheckedAt, now.CheckedAt)
	}
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/apis", "22")
	after, err := s.Documents(w.ctx, before)
	w.check(err)
	if after.Revision == before.Revision {
		t.Error("the revision stayed")
	}
	if &after.ByPath["/api"].Data[0] != &before.ByPath["/api"].Data[0] {
		t.Error("what did not change was read again")
	}
	w.equal(w.texts(s, after), map[string]string{"/api": "1", "/apis": "22"})
}

func documentsTwoWriters(_ *testing.T, w *world) {
	s := w.store()
	w.put(s, object.DiscoveryPart, "u", "/api", "1")
	known, err := s.DocumentRevisions(w.ctx)
	w.check(err)
	w.check(s.PutDocuments(w.ctx, object.DiscoveryPart, known, read("u", known, "/api", "2")))
	w.wantErr(s.PutDocuments(w.ctx, object.DiscoveryPart, known, read("u", known, "/api", "3")), object.ErrLost)
	set, err := s.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(w.texts(s, set), map[string]string{"/api": "2"})
}

func documentsOfAnotherCluster(_ *testing.T, w *world) {
	s := w.store()
	w.put(s, object.DiscoveryPart, "u", "/api", "1", "/apis", "2")
	w.put(s, object.OpenAPIPart, "u", "/openapi/v3", "5")
	w.put(s, object.DiscoveryPart, "", "/api", "1", "/apis", "22") // one that may not ask is no other
	set, err := s.Documents(w.ctx, object.Documents{})
	w.check(err)
	w.equal(set.ClusterUID, "u")
	w.equal(len(set.ByPath), 3)
	w.put(s, object.DiscoveryPart, "v", "/api", "1")
	set, err = s.Documents(w.ctx, set)
	w.check(err)
	w.equal(set.ClusterUID, "v")
	w.equal(w.texts(s, set), map[string]string{"/api": "1"})
	w.equal(slices.Sorted(maps.Keys(set.CheckedAt)), []string{object.DiscoveryPart})
}

// A reader never sees documents of two sets.
func documentsReplaced(t *testing.T, w *world) {
	s, other := w.store(), w.store()
	w.put(s, object.DiscoveryPart, "u", "/api", "0", "/apis", "0")
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 50 {
			text := fmt.Sprint(i)
			known, err := s.DocumentRevisions(w.ctx)
			if err == nil {
				err = s.PutDocuments(w.ctx, object.DiscoveryPart, known, read("u", known, "/api", text, "/apis", text))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var set object.Documents
	stale := object.Documents{ByPath: map[string]object.PackedDocument{"/api": {Revision: "of another time"}}}
	complete, err := other.fillDocuments(w.ctx, &stale, set)
	w.check(err)
	w.equal(complete, false)
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		var err error
		if set, err = other.Documents(w.ctx, set); err != nil {
			w.wantErr(err, errDocumentsMoved)
			continue
		}
		if all := w.texts(other, set); all["/api"] != all["/apis"] {
			t.Fatalf("%v", all)
		}
	}
	w.equal(w.texts(other, set), map[string]string{"/api": "49", "/apis": "49"})
}

func secretIsShared(t *testing.T, w *world) {
	first, err := w.store().Secret(w.ctx, "continue")
	w.check(err)
	second, err := w.store().Secret(w.ctx, "continue")
	w.check(err)
	other, err := w.store().Secret(w.ctx, "other")
	w.check(err)
	apart, err := w.store(func(o *Options) { o.Prefix = w.prefix + "x" }).Secret(w.ctx, "continue")
	w.check(err)
	w.equal(second, first)
	if len(first) != 32 || slices.Equal(first, other) || slices.Equal(first, apart) {
		t.Errorf("%d bytes; the same under another name %v, in another prefix %v", len(first), slices.Equal(first, other), slices.Equal(first, apart))
	}
}
