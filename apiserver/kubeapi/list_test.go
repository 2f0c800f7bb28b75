package kubeapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Whatever is written meanwhile and whichever replica answers, the pages of a list are
// the state that the first page was of, and later lists do not go back.
func TestPagesShowOneState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hidden := struct{ *testing.T }{t}
		rapid.Check(hidden, func(t *rapid.T) {
			ctx, cancel := context.WithCancel(context.Background())
			var wait sync.WaitGroup
			defer wait.Wait()
			defer cancel()
			f := newFeed(pods)
			all := feeds{f}
			replicas := []*replica{all.open(ctx, Options{}, &wait), all.open(ctx, Options{}, &wait)}
			time.Sleep(3 * time.Second)
			write := func() {
				key := fmt.Sprintf("%s/%s", rapid.SampledFrom([]string{"a", "a-b", "b"}).Draw(t, "namespace"), rapid.SampledFrom([]string{"p", "q", "r", "s"}).Draw(t, "name"))
				if rapid.Bool().Draw(t, "remove") {
					if _, found := f.records[object.ParseKey(key)]; found {
						f.remove(key, "{}")
					}
					return
				}
				f.put(key, rapid.SampledFrom([]string{`{"app":"web"}`, `{"app":"db"}`}).Draw(t, "labels"))
			}
			for range rapid.IntRange(0, 20).Draw(t, "before") {
				write()
			}
			selector := rapid.SampledFrom([]string{"", "&labelSelector=app%3Dweb"}).Draw(t, "selector")
			any := func() *replica { return rapid.SampledFrom(replicas).Draw(t, "replica") }
			want := get(t, any(), "/api/v1/pods?x"+selector)
			limit := rapid.IntRange(1, 5).Draw(t, "limit")
			got, page := []string(nil), get(t, any(), fmt.Sprintf("/api/v1/pods?limit=%d%s", limit, selector))
			for {
				got = append(got, page.names()...)
				if page.Metadata.ResourceVersion != want.Metadata.ResourceVersion {
					t.Fatalf("a page is of %s, the list of %s", page.Metadata.ResourceVersion, want.Metadata.ResourceVersion)
				}
				if left := page.Metadata.RemainingItemCount; left != nil && int(*left) != len(want.Items)-len(got) {
					t.Fatalf("%d remain, want %d", *left, len(want.Items)-len(got))
				}
				if page.Metadata.Continue == "" {
					break
				}
				for range rapid.IntRange(0, 3).Draw(t, "writes") {
					write()
				}
				page = get(t, any(), fmt.Sprintf("/api/v1/pods?limit=%d%s&continue=%s", limit, selector, page.Metadata.Continue))
			}
			if diff := cmp.Diff(want.names(), got); diff != "" {
				t.Fatalf("pages (-list +pages):\n%s", diff)
			}
			if now := get(t, any(), "/api/v1/pods"); now.Metadata.ResourceVersion != fmt.Sprint(f.version) {
				t.Fatalf("a list is of %s, Redis of %d", now.Metadata.ResourceVersion, f.version)
			}
		})
	})
}

func get(t *rapid.T, r *replica, target string) (l list) {
	answer := r.ask(target)
	if err := json.Unmarshal(answer.Body.Bytes(), &l); err != nil || answer.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %v %s", target, answer.Code, err, answer.Body)
	}
	return l
}

func TestContinueTokens(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		for i := range 5 {
			f.put(fmt.Sprintf("a/p%d", i), "{}")
		}
		time.Sleep(time.Second)
		token := r.list(t, "/api/v1/pods?limit=2").Metadata.Continue
		refused := func(code int, target string) {
			t.Helper()
			if answer := r.ask(target); answer.Code != code {
				t.Errorf("GET %s: %d %s, want %d", target, answer.Code, answer.Body, code)
			}
		}
		refused(http.StatusOK, "/api/v1/pods?limit=2&continue="+token)
		refused(http.StatusGone, "/api/v1/namespaces/a/pods?limit=2&continue="+token)
		refused(http.StatusGone, "/api/v1/pods?limit=2&labelSelector=x&continue="+token)
		refused(http.StatusBadRequest, "/api/v1/pods?limit=2&continue="+token[:len(token)-2])
		refused(http.StatusGone, "/api/v1/pods?limit=2&continue="+strings.Repeat("A", 4)+token[4:]) // signed with another key
		refused(http.StatusBadRequest, "/api/v1/pods?limit=2&continue=%ff")
		refused(http.StatusBadRequest, "/api/v1/pods?limit=2&resourceVersion=103&continue="+token)
		f.version = 200
		f.publish(object.FeedEntry{Barrier: "200"})
		time.Sleep(10 * time.Minute)
		refused(http.StatusGone, "/api/v1/pods?limit=2&continue="+token)
	})
}

func TestVersions(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.put("a/x", "{}") // 101
		f.put("a/y", "{}") // 102
		f.put("a/x", "{}") // 103
		time.Sleep(time.Second)
		want := func(query string, version string, names ...string) {
			t.Helper()
			l := r.list(t, "/api/v1/pods?"+query)
			if diff := cmp.Diff(names, l.names()); diff != "" || l.Metadata.ResourceVersion != version {
				t.Errorf("%s: version %s (-want +got):\n%s", query, l.Metadata.ResourceVersion, diff)
			}
		}
		want("resourceVersion=102&resourceVersionMatch=Exact", "102", "a/x@101", "a/y@102")
		want("resourceVersion=101&limit=5", "101", "a/x@101") // as old clients ask for a state
		want("resourceVersion=101", "103", "a/x@103", "a/y@102")
		want("resourceVersion=0", "103", "a/x@103", "a/y@102")
		want("resourceVersion=0&limit=1", "103", "a/x@103", "a/y@102") // any state is answered whole
		want("resourceVersion=101&resourceVersionMatch=NotOlderThan&limit=1", "103", "a/x@103")
		want("orderBy=-metadata.name", "103", "a/y@102", "a/x@103")
		want("krm.io/fieldSelector=spec.containers[*].image%3Dnginx:102", "103", "a/y@102")
		want("fieldSelector=status.phase%3DPending", "103")
		for timeout, code := range map[string]int{"x": 400, "1s": 504, "0": 504} {
			if answer := r.ask("/api/v1/pods?resourceVersion=110&timeout=" + timeout); answer.Code != code {
				t.Errorf("timeout=%s: %d %s", timeout, answer.Code, answer.Body)
			}
		}
		if answer := r.ask("/api/v1/namespaces/a/pods/none?timeout=30s"); answer.Code != 404 || answer.Body.Len() == 0 {
			t.Errorf("a bounded request that fails: %d %s", answer.Code, answer.Body)
		}
		// One that is not there yet is waited for.
		go func() {
			time.Sleep(time.Second)
			f.put("a/z", "{}")
		}()
		want("resourceVersion=104&fieldSelector=metadata.name%3Dz", "104", "a/z@104")
		answer := r.ask("/api/v1/pods?resourceVersion=110")
		if answer.Code != http.StatusGatewayTimeout || !strings.Contains(answer.Body.String(), "ResourceVersionTooLarge") {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}

func TestStaleness(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.put("a/x", "{}")
		time.Sleep(time.Minute)
		if answer := r.ask("/api/v1/pods?maxStaleness=5s"); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
		go func() {
			time.Sleep(time.Second)
			f.publish(object.FeedEntry{})
		}()
		if l := r.list(t, "/api/v1/pods?maxStaleness=5s"); len(l.Items) != 1 {
			t.Errorf("%+v", l)
		}
		for _, bad := range []string{"5", "-1s", "x"} {
			if answer := r.ask("/api/v1/pods?maxStaleness=" + bad); answer.Code != http.StatusBadRequest {
				t.Errorf("maxStaleness=%s: %d %s", bad, answer.Code, answer.Body)
			}
		}
	})
}

// What only KRM understands never goes to the API server, which would ignore it.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		r := feeds{newFeed(pods)}.open(ctx, Options{Forward: func(c *gin.Context) bool {
			c.String(http.StatusTeapot, "%v", c.Request.Context().Err())
			return true
		}}, &wait)
		time.Sleep(time.Minute)
		want := func(code int, target string) {
			t.Helper()
			if answer := r.ask(target); answer.Code != code || code == http.StatusTeapot && answer.Body.String() != "<nil>" {
				t.Errorf("GET %s: %d %s, want %d", target, answer.Code, answer.Body, code)
			}
		}
		want(http.StatusTeapot, "/api/v1/pods?maxStaleness=5s")
		want(http.StatusTeapot, "/api/v1/pods?maxStaleness=5s&timeout=30s")
		want(http.StatusServiceUnavailable, "/api/v1/pods?maxStaleness=5s&krm.io/fieldSelector=status.phase%3DFailed")
		want(http.StatusServiceUnavailable, "/api/v1/pods?maxStaleness=5s&fields=status")
		want(http.StatusTeapot, "/api/v1/secrets")
		want(http.StatusBadRequest, "/api/v1/secrets?orderBy=metadata.name")
		want(http.StatusTeapot, "/api/v1/namespaces/a/pods/x/log")
		want(http.StatusOK, "/api/v1/pods")
		cancel()
		wait.Wait()
	})
}

func TestConditionalReads(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		if answer := r.ask("/api/v1/secrets?orderBy=metadata.name"); answer.Code != http.StatusNotFound {
			t.Errorf("what is not watched, and not passed on: %d %s", answer.Code, answer.Body)
		}
		f.put("a/x", "{}")
		f.put("b/y", "{}")
		time.Sleep(time.Second)
		const all, inA, one = "/api/v1/pods", "/api/v1/namespaces/a/pods", "/api/v1/namespaces/a/pods/x"
		tags := map[string]string{}
		for _, path := range []string{all, inA, one} {
			tags[path] = r.ask(path).Header().Get("ETag")
		}
		code := func(path string) int { return r.ask(path, "If-None-Match", `"other", `+tags[path]).Code }
		if code(all) != 304 || code(inA) != 304 || code(one) != 304 {
			t.Errorf("unchanged: %d %d %d", code(all), code(inA), code(one))
		}
		f.publish(object.FeedEntry{}) // the position alone is no change
		f.put("b/y", "{}")
		if code(all) != 200 || code(inA) != 304 || code(one) != 304 {
			t.Errorf("b changed: %d %d %d", code(all), code(inA), code(one))
		}
		f.put("a/z", "{}")
		if code(inA) != 200 || code(one) != 304 {
			t.Errorf("a changed: %d %d", code(inA), code(one))
		}
		// A page's token does not hold for ever, so the page is never unchanged.
		if tag := r.ask(all + "?limit=1").Header().Get("ETag"); tag != "" {
			t.Errorf("a page has the tag %s", tag)
		}
		// Who may read one object learns nothing of the others' changes.
		named := "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx"
		tags[named] = r.ask(named).Header().Get("ETag")
		f.put("a/other", "{}")
		if code(named) != 304 {
			t.Errorf("another object changed: %d", code(named))
		}
		if answer := r.ask(one, "If-None-Match", tags[one], "Accept", "application/vnd.kubernetes.protobuf"); answer.Code != 200 {
			t.Errorf("another form: %d", answer.Code)
		}
	})
}

// Every form of a list tells the same, while single objects change between two
// answers of which most is made once.
func TestFormsAgree(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		for i := range 700 {
			f.put(fmt.Sprintf("ns-%d/pod-%03d", i%3, i), fmt.Sprintf(`{"i":"%d"}`, i))
		}
		for round := range 3 {
			f.put(fmt.Sprintf("ns-0/pod-%03d", 3*round), `{"changed":"yes"}`)
			f.remove(fmt.Sprintf("ns-1/pod-%03d", 3*round+1), `{}`)
			for _, path := range []string{"/api/v1/pods", "/api/v1/namespaces/ns-1/pods", "/api/v1/pods?labelSelector=changed", "/api/v1/pods?limit=500"} {
				var want corev1.PodList
				plain := r.ask(path).Body.Bytes()
				if err := json.Unmarshal(plain, &want); err != nil {
					t.Fatal(err)
				}
				zipped := r.ask(path, "Accept-Encoding", "gzip")
				if got := unzip(t, zipped.Header(), zipped.Body.Bytes()); !bytes.Equal(got, plain) {
					t.Fatalf("%s: %d bytes unzipped, %d plain", path, len(got), len(plain))
				}
				message := r.ask(path, "Accept", "application/vnd.kubernetes.protobuf")
				zipped = r.ask(path, "Accept", "application/vnd.kubernetes.protobuf", "Accept-Encoding", "gzip")
				if got := unzip(t, zipped.Header(), zipped.Body.Bytes()); !bytes.Equal(got, message.Body.Bytes()) {
					t.Fatalf("%s: protobuf: %d bytes unzipped, %d plain", path, len(got), message.Body.Len())
				}
				decoded, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), message.Body.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				got := decoded.(*corev1.PodList)
				got.TypeMeta = want.TypeMeta
				if diff := cmp.Diff(&want, got); diff != "" {
					t.Fatalf("%s (-json +protobuf):\n%s", path, diff)
				}
			}
		}
	})
}

func unzip(t *testing.T, header http.Header, body []byte) []byte {
	t.Helper()
	if header.Get("Content-Encoding") != "gzip" {
		return body
	}
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTooManyLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		r := feeds{newFeed(pods)}.open(ctx, Options{Lists: 1}, &wait)
		time.Sleep(3 * time.Second)
		waiting := make(chan int)
		go func() { waiting <- r.ask("/api/v1/pods?resourceVersion=999").Code }()
		synctest.Wait()
		if code := r.ask("/api/v1/pods").Code; code != http.StatusOK {
			t.Errorf("while another waits: %d", code)
		}
		if code := <-waiting; code != http.StatusGatewayTimeout {
			t.Errorf("the one that waits: %d", code)
		}
		_ = r.inTurn(func() error {
			for _, path := range []string{"/api/v1/pods", "/pods", "/krm/v1/count?resource=pods&by=node"} {
				answer := r.ask(path)
				if answer.Code != http.StatusTooManyRequests || answer.Header().Get("Retry-After") != "1" {
					t.Errorf("%s: %d %v %s", path, answer.Code, answer.Header(), answer.Body)
				}
			}
			return nil
		})
		if code := r.ask("/api/v1/pods").Code; code != http.StatusOK {
			t.Errorf("afterwards: %d", code)
		}
		cancel()
		wait.Wait()
	})
}

func TestAccept(t *testing.T) {
	const table, partial = ";as=Table;v=v1;g=meta.k8s.io", ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	f := func(accept string, want ...form) {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		got, err := reads(true).choose(request)
		if !slices.Equal(got, want) || (err == nil) != (len(want) > 0) {
			t.Errorf("%q: %v %v, want %v", accept, got, err, want)
		}
	}
	json, proto := form{media: mediaJSON}, form{media: mediaProtobuf}
	f("", json, form{media: mediaYAML}, proto)
	f("application/json", json)
	f("application/vnd.kubernetes.protobuf,application/json", proto, json)
	f("application/json;q=0.5, application/vnd.kubernetes.protobuf", proto, json)
	f("application/json"+table+",application/json", form{media: mediaJSON, shape: shapeTable}, json)
	f("application/vnd.kubernetes.protobuf" + table)
	f("application/vnd.kubernetes.protobuf"+partial, form{media: mediaProtobuf, shape: shapeMetadata, ofList: true})
	f("application/json;as=Table;v=v9;g=meta.k8s.io")
	f("application/json;stream=watch", json)
	f("application/json;q=0")
	f("text/html")
}

func FuzzAccept(f *testing.F) {
	f.Add("application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
	f.Add("*/*;q=0.1,,;;=")
	f.Fuzz(func(t *testing.T, accept string) {
		request := &http.Request{Header: http.Header{"Accept": {accept}}}
		request.URL = must(http.NewRequest(http.MethodGet, "/", nil)).URL
		forms, err := streams(true).choose(request)
		if (len(forms) == 0) != (err != nil) {
			t.Errorf("%v, %v", forms, err)
		}
	})
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

func FuzzToken(f *testing.F) {
	s := &signer{secret: randomSecret()}
	good, err := s.encode(f.Context(), token{Lineage: "one", Version: "5", Path: "a/b", Query: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := s.decode(t.Context(), text, 7); err == nil && (text != good || got.Path != "a/b") {
			t.Errorf("%q was taken for a token: %+v", text, got)
		}
	})
}
