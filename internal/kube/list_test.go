package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// paged answers lists of the pods p0 … pN-1 at version 50, as Tables.
func paged(total int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("continue"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		to := min(from+limit, total)
		metadata := `"resourceVersion":"50"`
		if to < total {
			metadata += fmt.Sprintf(`,"continue":"%d","remainingItemCount":%d`, to, total-to)
		}
		var rows []string
		for i := from; i < to; i++ {
			rows = append(rows, row(pod(fmt.Sprint("p", i), fmt.Sprint(i+1)), fmt.Sprintf(`"p%d"`, i)))
		}
		_, _ = io.WriteString(w, table(metadata, nameColumn, rows...))
	}
}

func TestList(t *testing.T) {
	c, s := serve(t, Options{PageSize: 2}, paged(3))
	got, err := told(c.List(t.Context(), pods))
	want := []string{
		"COLUMNS 1",
		"ADDED a/p0 uid-p0 1 " + cutPod("p0", "1") + ` ["p0"]`,
		"ADDED a/p1 uid-p1 2 " + cutPod("p1", "2") + ` ["p1"]`,
		"ADDED a/p2 uid-p2 3 " + cutPod("p2", "3") + ` ["p2"]`,
		"INITIAL-END 50",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("err %v, events (-want +got):\n%s", err, diff)
	}
	if got := s.asked[0].URL.RawQuery + " " + s.asked[1].URL.RawQuery; got != "includeObject=Object&limit=2 continue=2&includeObject=Object&limit=2" {
		t.Errorf("asked for %s", got)
	}
	if got := s.asked[0].URL.Path + " " + s.asked[0].Header.Get("Accept") + " " + s.asked[0].UserAgent() + s.asked[0].Header.Get("Accept-Encoding"); got != "/api/v1/pods "+asTable+" krmidentity" {
		t.Errorf("asked by %s", got)
	}
}

func TestListOfNothing(t *testing.T) {
	for _, text := range []string{
		table(`"resourceVersion":"50"`, "null"),
		`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"50"},"items":null}`,
	} {
		c, _ := serve(t, Options{}, say(text))
		got, err := told(c.List(t.Context(), pods))
		if fmt.Sprint(got) != "[INITIAL-END 50]" || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestListMayBeStopped(t *testing.T) {
	c, s := serve(t, Options{PageSize: 2}, paged(9))
	for e, err := range c.List(t.Context(), pods) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == object.Added {
			break
		}
	}
	if s.count() != 1 {
		t.Errorf("%d requests", s.count())
	}
}

// Typed servers leave kind and apiVersion out of a list's items. What is kept must
// be the same text as a watch brings.
func TestPlainList(t *testing.T) {
	bare := strings.Replace(pod("x", "11"), `"kind":"Pod","apiVersion":"v1",`, "", 1)
	custom := `{"apiVersion":"example.com/v1","kind":"Pod","metadata":{"managedFields":[],"name":"y","namespace":"a","resourceVersion":"12"}}`
	c, _ := serve(t, Options{}, say(`{"items":[`+bare+`,`+custom+`],"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"50"}}`))
	got, err := told(c.List(t.Context(), pods))
	want := []string{
		"ADDED a/x uid-x 11 " + cutPod("x", "11") + " ",
		"ADDED a/y  12 " + strings.Replace(custom, `"managedFields":[],`, "", 1) + " ",
		"INITIAL-END 50",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("err %v, events (-want +got):\n%s", err, diff)
	}
}

func TestListFaults(t *testing.T) {
	f := func(want string, is error, answer http.HandlerFunc) {
		t.Helper()
		c, _ := serve(t, Options{PageSize: 2}, answer)
		got, err := told(c.List(t.Context(), pods))
		if err == nil || !strings.Contains(err.Error(), want) || is != nil && !errors.Is(err, is) {
			t.Errorf("%d events, error %v, want %s", len(got), err, want)
		}
		for _, line := range got {
			if strings.HasPrefix(line, "INITIAL-END") {
				t.Errorf("%s: the list looks complete", want)
			}
		}
	}
	second := func(answer http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("continue") {
				answer(w, r)
				return
			}
			paged(5)(w, r)
		}
	}
	f("list pods: expired", object.ErrExpired, second(refuse(410, "Expired", "")))
	f("list pods: pages of one list at versions 50 and 51", nil, second(say(table(`"resourceVersion":"51"`, "null"))))
	f(`resourceVersion ""`, nil, second(say(table("", "null"))))
	f("unexpected EOF", io.ErrUnexpectedEOF, second(say(table(`"resourceVersion":"50"`, "null")[:40])))
	f("malformed JSON", nil, say("<html>"))
	f("malformed JSON", nil, say(table(`"resourceVersion":"50"`, "null")+"{}"))
	f(`answer of kind "Pod"`, nil, say(`{"kind":"Pod","metadata":{"resourceVersion":"5"}}`))
	f(`answer of kind ""`, nil, say(`{"metadata":{"resourceVersion":"5"}}`))
	f("metadata.name", nil, say(table(`"resourceVersion":"50"`, "null", row(`{}`, ""))))
	f("metadata.name", nil, say(table(`"resourceVersion":"50"`, "null", row(`{"metadata":{"name":"a/b","namespace":"a","resourceVersion":"1"}}`, ""))))
	f("malformed JSON", nil, say(table(`"resourceVersion":"50"`, "null", "[]")))
	f("remainingItemCount", nil, say(table(`"resourceVersion":"50","remainingItemCount":1.5`, "null")))
	f("forbidden", object.ErrForbidden, refuse(403, "Forbidden", ""))
}

func TestMetadataAndBodies(t *testing.T) {
	c, s := serve(t, Options{PageSize: 2}, paged(3))
	version, items, err := c.Metadata(t.Context(), pods)
	want := []object.ListedItem{
		{Key: object.Key{Namespace: "a", Name: "p0"}, UID: "uid-p0", Version: "1"},
		{Key: object.Key{Namespace: "a", Name: "p1"}, UID: "uid-p1", Version: "2"},
		{Key: object.Key{Namespace: "a", Name: "p2"}, UID: "uid-p2", Version: "3"},
	}
	if diff := cmp.Diff(want, items); diff != "" || err != nil || version != "50" {
		t.Errorf("version %s, err %v, items (-want +got):\n%s", version, err, diff)
	}
	if s.asked[0].Header.Get("Accept") != asMetadataList || s.last(t).Has("resourceVersion") {
		t.Errorf("asked for %v %v", s.asked[0].Header, s.last(t))
	}
	for i := range want {
		want[i].Hash = object.Hash([]byte(cutPod(want[i].Key.Name, string(want[i].Version))))
	}
	version, items, err = c.Bodies(t.Context(), pods)
	if diff := cmp.Diff(want, items); diff != "" || err != nil || version != "50" {
		t.Errorf("version %s, err %v, items (-want +got):\n%s", version, err, diff)
	}
}

func TestListedFaults(t *testing.T) {
	c, _ := serve(t, Options{}, refuse(410, "Expired", ""))
	if _, items, err := c.Metadata(t.Context(), pods); !errors.Is(err, object.ErrExpired) || items != nil {
		t.Errorf("items %v, error %v", items, err)
	}
	c, _ = serve(t, Options{}, say(table(`"resourceVersion":"50"`, "null", row(pod("x", "0"), ""))))
	if _, items, err := c.Bodies(t.Context(), pods); err == nil || items != nil {
		t.Errorf("items %v, error %v", items, err)
	}
}

func TestCount(t *testing.T) {
	f := func(want int64, answer http.HandlerFunc) {
		t.Helper()
		c, _ := serve(t, Options{}, answer)
		if got, err := c.Count(t.Context(), pods); got != want || err != nil {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
	f(0, paged(0))
	f(1, paged(1))
	f(1000, paged(1000))
	f(2, say(table(`"resourceVersion":"50"`, "null", row(pod("x", "1"), ""), row(pod("y", "2"), "")))) // the limit was ignored
	f(0, say(table(`"resourceVersion":"50","continue":"x"`, "null", row(pod("x", "1"), ""))))          // it does not say
}

func TestAt(t *testing.T) {
	key := object.Key{Namespace: "a", Name: "p1"}
	c, s := serve(t, Options{}, paged(3))
	got, err := c.At(t.Context(), pods, key, "50")
	if err != nil || got.Key != key || string(got.Body) != cutPod("p1", "2") || string(got.Cells) != `["p1"]` {
		t.Errorf("got %+v, %v", got, err)
	}
	if asked := s.asked[0].URL.Path + "?" + s.last(t).Encode(); asked != "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp1&includeObject=Object&limit=500&resourceVersion=50&resourceVersionMatch=Exact" {
		t.Errorf("asked for %s", asked)
	}
	f := func(want string, is error, answer http.HandlerFunc) {
		t.Helper()
		c, _ := serve(t, Options{}, answer)
		_, err := c.At(t.Context(), pods, key, "50")
		if err == nil || !strings.HasPrefix(err.Error(), "get pods a/p1 at version 50: "+want) || !errors.Is(err, is) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	f("no such resource", object.ErrNotFound, paged(1))
	f("expired", object.ErrExpired, refuse(410, "Expired", ""))
	f("not supported by the API server: asked for exactly version 50, it answered with 51", object.ErrUnsupported, say(table(`"resourceVersion":"51"`, "null")))
}

func TestAllAt(t *testing.T) {
	c, s := serve(t, Options{PageSize: 2}, paged(3))
	var got []string
	for r, err := range c.AllAt(t.Context(), pods, "50") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(r.Key, " ", r.Version))
	}
	if fmt.Sprint(got) != "[a/p0 1 a/p1 2 a/p2 3]" {
		t.Errorf("got %v", got)
	}
	if asked := s.asked[0].URL.RawQuery + " " + s.asked[1].URL.RawQuery; asked != "includeObject=Object&limit=2&resourceVersion=50&resourceVersionMatch=Exact continue=2&includeObject=Object&limit=2" {
		t.Errorf("asked for %s", asked)
	}
	for range c.AllAt(t.Context(), pods, "50") {
		break
	}
	for _, err := range c.AllAt(t.Context(), pods, "49") {
		if !errors.Is(err, object.ErrUnsupported) {
			t.Errorf("error %v", err)
		}
	}
}

// Pages beyond what we want to hold in memory are asked for again in smaller pieces.
func TestPageThatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits []string
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(r *http.Request) (io.ReadCloser, error) {
			limit := r.URL.Query().Get("limit")
			limits = append(limits, limit)
			if limit == "1" {
				return io.NopCloser(strings.NewReader(table(`"resourceVersion":"50"`, "null"))), nil
			}
			return io.NopCloser(zeros{}), nil
		})}, Options{PageSize: 6})
		c.maxPage = 1 << 20
		got, err := told(c.List(context.Background(), pods))
		if fmt.Sprint(limits, got) != "[6 1] [INITIAL-END 50]" || err != nil {
			t.Errorf("limits %v, got %v, %v", limits, got, err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
