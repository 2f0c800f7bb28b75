package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestWatchTellsWhatHappens(t *testing.T) {
	c, s := serve(t, Options{}, say(
		event("ADDED", pod("x", "11"), `"x"`, "11", nameColumn)+
			podEvent("MODIFIED", "x", "12")+"\r\n\n"+
			podEvent("DELETED", "x", "13")+
			mark("20", "")))
	got, err := told(c.Watch(t.Context(), pods, "10", 1500*time.Millisecond))
	want := []string{
		"COLUMNS 1",
		`ADDED a/x uid-x 11 ` + cutPod("x", "11") + ` ["x"]`,
		`MODIFIED a/x uid-x 12 ` + cutPod("x", "12") + ` ["x"]`,
		`DELETED a/x uid-x 13 ` + cutPod("x", "13") + ` ["x"]`,
		"BOOKMARK 20",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("err %v, events (-want +got):\n%s", err, diff)
	}
	if got := s.last(t).Encode(); got != "allowWatchBookmarks=true&includeObject=Object&resourceVersion=10&timeoutSeconds=2&watch=true" {
		t.Errorf("asked for %s", got)
	}
}

func TestWatchOfPlainObjects(t *testing.T) {
	plain := func(kind, object string) string { return fmt.Sprintf("{\"type\":%q,\"object\":%s}", kind, object) }
	c, _ := serve(t, Options{}, say( // no newlines either: the values alone count
		plain("ADDED", pod("x", "11"))+plain("DELETED", pod("x", "12"))+
			plain("BOOKMARK", `{"kind":"Pod","metadata":{"resourceVersion":"13"}}`)))
	got, err := told(c.Watch(t.Context(), pods, "10", 0))
	want := []string{`ADDED a/x uid-x 11 ` + cutPod("x", "11") + " ", `DELETED a/x uid-x 12 ` + cutPod("x", "12") + " ", "BOOKMARK 13"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("err %v, events (-want +got):\n%s", err, diff)
	}
}

func TestWatchKeepsManagedFields(t *testing.T) {
	c, _ := serve(t, Options{KeepManagedFields: true}, say(podEvent("ADDED", "x", "11")))
	got, err := told(c.Watch(t.Context(), pods, "10", 0))
	if want := []string{`ADDED a/x uid-x 11 ` + pod("x", "11") + ` ["x"]`}; err != nil || !cmp.Equal(want, got) {
		t.Fatalf("err %v, got %v", err, got)
	}
}

func TestDeletedRecordIsATombstone(t *testing.T) {
	c, _ := serve(t, Options{}, say(podEvent("DELETED", "x", "11")))
	for e, err := range c.Watch(t.Context(), pods, "10", 0) {
		if err != nil || !e.Record.Deleted || time.Since(e.Record.SeenAt) > time.Minute || e.Record.SeenAt.Location() != time.UTC {
			t.Errorf("err %v, record %+v", err, e.Record.Head)
		}
	}
}

// What a broken stream brings before its fault counts; the fault is an error, and
// nothing comes after it.
func TestWatchFaults(t *testing.T) {
	good := podEvent("ADDED", "x", "11")
	f := func(name, fault string, want string, is error) {
		t.Helper()
		c, _ := serve(t, Options{}, say(good+fault+good))
		got, err := told(c.Watch(t.Context(), pods, "10", 0))
		if len(got) != 1 || err == nil || !strings.Contains(err.Error(), want) || is != nil && !errors.Is(err, is) {
			t.Errorf("%s: %d events, error %v, want %q", name, len(got), err, want)
		}
	}
	status := func(code int, reason, details string) string {
		return fmt.Sprintf(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"words","reason":%q,"code":%d,"details":{%s}}}`+"\n", reason, code, details)
	}
	f("expired", status(410, "Expired", ""), "watch pods: expired: words", object.ErrExpired)
	f("gone", status(410, "Gone", ""), "expired", object.ErrExpired)
	f("forbidden", status(403, "Forbidden", ""), `grant verbs list, watch on resource "pods" in API group ""`, object.ErrForbidden)
	f("other error", status(500, "InternalError", ""), "words", nil)
	f("retry", status(429, "TooManyRequests", `"retryAfterSeconds":7`), "words (retry after 7s)", nil)
	f("no status", `{"type":"ERROR","object":[1]}`, "malformed", nil)
	f("garbage", "garbage\n", "malformed JSON", nil)
	f("truncated", `{"type":"ADDED","obj`+"\n", "malformed JSON", nil)
	f("bad escape", `{"type":"ADD\xED"}`, "malformed JSON", nil)
	f("array", "[]\n", "malformed JSON", nil)
	f("unknown type", strings.Replace(good, "ADDED", "PATCHED", 1), `unknown type "PATCHED"`, nil)
	f("no type", strings.Replace(good, "type", "tupe", 1), `unknown type ""`, nil)
	f("no object", `{"type":"ADDED"}`+"\n", "metadata.name", nil)
	f("no rows", `{"type":"ADDED","object":`+table(`"resourceVersion":"12"`, "null")+"}\n", "without an object", nil)
	f("two rows", `{"type":"ADDED","object":`+table("", "null", row(pod("x", "12"), ""), row(pod("y", "12"), ""))+"}\n", "several rows", nil)
	f("no metadata", strings.Replace(podEvent("ADDED", "x", "12"), `"name"`, `"nome"`, 1), "metadata.name", nil)
	f("version 0", podEvent("ADDED", "x", "0"), `resourceVersion "0"`, nil)
	f("no version", podEvent("ADDED", "x", ""), `resourceVersion ""`, nil)
	f("odd version", podEvent("MODIFIED", "x", "abc"), `resourceVersion "abc"`, nil)
	f("odd bookmark", mark("abc", ""), `resourceVersion "abc"`, nil)
	f("cluster-scoped", strings.Replace(podEvent("ADDED", "x", "12"), `"namespace":"a",`, "", 1), "scope", nil)
	f("name twice", strings.Replace(podEvent("ADDED", "x", "12"), `"namespace"`, `"name"`, 1), "twice", nil)
	f("odd columns", event("ADDED", pod("x", "12"), "", "12", `[{"name":5}]`), "columnDefinitions", nil)
	f("too large", `{"type":"ADDED","object":"`+strings.Repeat("x", maxFrame+1<<20), "larger than 16 MiB", nil)
}

func TestWatchThatEndsWithinAnEvent(t *testing.T) {
	whole := podEvent("ADDED", "x", "11")
	f := func(text string, wantEvents int, wantErr error) {
		t.Helper()
		c, _ := serve(t, Options{}, say(text))
		got, err := told(c.Watch(t.Context(), pods, "10", 0))
		if len(got) != wantEvents || !errors.Is(err, wantErr) {
			t.Errorf("%d events, error %v; want %d, %v", len(got), err, wantEvents, wantErr)
		}
	}
	f("", 0, nil)
	f("\n\n", 0, nil)
	f(whole, 1, nil)
	f(strings.TrimSpace(whole), 1, nil)
	for n := 1; n < len(whole)-1; n += 7 {
		f(whole+whole[:n], 1, io.ErrUnexpectedEOF)
	}
	f(whole+whole[:len(whole)-2], 1, io.ErrUnexpectedEOF)
}

func TestRefusedWatch(t *testing.T) {
	f := func(answer http.HandlerFunc, want string, is error) {
		t.Helper()
		c, _ := serve(t, Options{}, answer)
		got, err := told(c.Watch(t.Context(), pods, "10", 0))
		if len(got) != 0 || err == nil || err.Error() != want || is != nil && !errors.Is(err, is) {
			t.Errorf("%d events, error %v, want %s", len(got), err, want)
		}
	}
	f(refuse(410, "Expired", ""), "watch pods: expired: the server's words", object.ErrExpired)
	f(refuse(404, "NotFound", ""), "watch pods: no such resource: the server's words", object.ErrNotFound)
	f(refuse(403, "Forbidden", ""), `watch pods: forbidden: the server's words: grant verbs list, watch on resource "pods" in API group ""`, object.ErrForbidden)
	f(refuse(401, "Unauthorized", ""), "watch pods: the API server does not accept our credentials (check the kubeconfig's token or certificate): the server's words", nil)
	f(refuse(405, "MethodNotAllowed", ""), "watch pods: not supported by the API server: the server's words", object.ErrUnsupported)
	f(refuse(500, "InternalError", ""), "watch pods: the server's words", nil)
	f(refuse(429, "TooManyRequests", "", "Retry-After", "3"), "watch pods: the server's words (retry after 3s)", nil)
	f(refuse(429, "TooManyRequests", `"retryAfterSeconds":2`), "watch pods: the server's words (retry after 2s)", nil)
	f(refuse(504, "Timeout", `"causes":[{"reason":"ResourceVersionTooLarge"}]`), "watch pods: the server's words (retry after 1s)", nil)
	f(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\nmore", 404) }, "watch pods: no such resource: 404 Not Found: no", object.ErrNotFound)
	f(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, "watch pods: expired: 410 Gone: ", object.ErrExpired)
	f(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, "watch pods: 502 Bad Gateway: ", nil)
}

func TestRetryErrorTellsHowLong(t *testing.T) {
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	c, _ := serve(t, Options{}, refuse(503, "ServiceUnavailable", "", "Retry-After", date))
	_, err := told(c.Watch(t.Context(), pods, "10", 0))
	var retry *object.RetryError
	if !errors.As(err, &retry) || retry.After < 50*time.Second || retry.After > time.Minute {
		t.Errorf("error %v", err)
	}
}

func TestUnreachableServer(t *testing.T) {
	c := connect(t, &rest.Config{Host: "http://127.0.0.1:1"}, Options{})
	_, err := told(c.Watch(t.Context(), pods, "10", 0))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

func TestInitialEvents(t *testing.T) {
	c, s := serve(t, Options{}, say(podEvent("ADDED", "y", "9")+podEvent("ADDED", "x", "7")+mark("12", initialEnd)+podEvent("DELETED", "x", "13")+mark("15", "")))
	got, err := told(c.Initial(t.Context(), pods))
	want := []string{
		`ADDED a/y uid-y 9 ` + cutPod("y", "9") + ` ["y"]`,
		`ADDED a/x uid-x 7 ` + cutPod("x", "7") + ` ["x"]`,
		"INITIAL-END 12",
		`DELETED a/x uid-x 13 ` + cutPod("x", "13") + ` ["x"]`,
		"BOOKMARK 15",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("err %v, events (-want +got):\n%s", err, diff)
	}
	q := s.last(t)
	q.Del("timeoutSeconds")
	if got := q.Encode(); got != "allowWatchBookmarks=true&includeObject=Object&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&watch=true" {
		t.Errorf("asked for %s", got)
	}
}

func TestInitialEventsThatTheServerDoesNotSend(t *testing.T) {
	f := func(answer http.HandlerFunc, wantUnsupported bool, is error) {
		t.Helper()
		c, _ := serve(t, Options{}, answer)
		_, err := told(c.Initial(t.Context(), pods))
		if err == nil || errors.Is(err, object.ErrUnsupported) != wantUnsupported || is != nil && !errors.Is(err, is) {
			t.Errorf("error %v, want unsupported %v, %v", err, wantUnsupported, is)
		}
	}
	f(refuse(422, "Invalid", ""), true, nil)
	f(refuse(400, "BadRequest", ""), true, nil)
	f(say(podEvent("ADDED", "x", "7")+mark("12", "")), true, nil)       // ignored: an ordinary bookmark
	f(say(podEvent("ADDED", "x", "7")), false, io.ErrUnexpectedEOF)     // the server stopped
	f(refuse(410, "Expired", ""), false, object.ErrExpired)             // others stay what they are
	f(refuse(403, "Forbidden", ""), false, object.ErrForbidden)         //
	f(refuse(500, "InternalError", ""), false, nil)                     //
	f(say(podEvent("ADDED", "x", "abc")), false, nil)                   //
	f(say(podEvent("ADDED", "x", "7")+"{"), false, io.ErrUnexpectedEOF) //
	f(refuse(504, "Timeout", `"retryAfterSeconds":1`), false, nil)      //
}

func TestConsumerMayStop(t *testing.T) {
	c, _ := serve(t, Options{}, say(podEvent("ADDED", "x", "1")+mark("12", initialEnd)))
	for _, events := range []iter.Seq2[object.Event, error]{
		c.Watch(t.Context(), pods, "1", 0),
		c.Initial(t.Context(), pods),
	} {
		for _, err := range events {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
}

func TestProbe(t *testing.T) {
	c, s := serve(t, Options{}, say(mark("77", initialEnd)))
	got, err := c.Probe(t.Context(), pods)
	if got != "77" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if selector := s.last(t).Get("labelSelector"); !strings.HasPrefix(selector, "krm.io/none=") || len(selector) < 30 {
		t.Errorf("selector %q", selector)
	}
}

func TestProbeOfAServerWithoutWatchList(t *testing.T) {
	c, s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			refuse(422, "Invalid", "")(w, r)
			return
		}
		say(`{"kind":"PartialObjectMetadataList","metadata":{"resourceVersion":"78","continue":"x"},"items":[{"metadata":{"name":"x"}}]}`)(w, r)
	})
	for range 2 {
		if got, err := c.Probe(t.Context(), pods); got != "78" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if s.count() != 3 || s.last(t).Get("limit") != "1" { // the second one knows
		t.Errorf("%d requests, the last %v", s.count(), s.last(t))
	}
}

func TestProbeRefused(t *testing.T) {
	c, _ := serve(t, Options{}, refuse(403, "Forbidden", ""))
	if _, err := c.Probe(t.Context(), pods); !errors.Is(err, object.ErrForbidden) {
		t.Errorf("error %v", err)
	}
}

func TestCancelEndsABlockedWatch(t *testing.T) {
	for _, answer := range []http.HandlerFunc{
		func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		c, _ := serve(t, Options{}, answer)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		began := time.Now()
		_, err := told(c.Watch(ctx, pods, "10", 0))
		if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	}
}
