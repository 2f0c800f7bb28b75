package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// stream makes the events of a watch: kind, name and version in turn.
func stream(t testing.TB, media string, parts ...string) string {
	var out strings.Builder
	for i := 0; i < len(parts); i += 3 {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: parts[i+1], Namespace: "default", UID: "u", ResourceVersion: parts[i+2]}}
		out.Write(encodeEvent(t, media, parts[i], pod))
	}
	return out.String()
}

// TestWatchEnds: what cannot be mended ends the watch with one error.
func TestWatchEnds(t *testing.T) {
	const list = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42"},"items":[]}`
	status := func(code int) wire {
		return func(*http.Request) (*http.Response, error) {
			body := encode(t, mediaJSON, &metav1.Status{Status: "Failure", Code: int32(code), Reason: apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{}, "", "", 0, false).ErrStatus.Reason})
			return answerOf(code, mediaJSON, bytes.NewReader(body)), nil
		}
	}
	says := func(media, body string) wire {
		return func(*http.Request) (*http.Response, error) { return answerOf(200, media, strings.NewReader(body)), nil }
	}
	lists := says(mediaJSON, list)
	broken := wire(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	hangs := wire(func(request *http.Request) (*http.Response, error) {
		<-request.Context().Done()
		return nil, request.Context().Err()
	})
	silent := wire(func(request *http.Request) (*http.Response, error) {
		return answerOf(200, mediaJSON, onlyErr{func() error { <-request.Context().Done(); return request.Context().Err() }}), nil
	})
	f := func(opts client.WatchOptions, wantEvents string, wantInterrupted int, wantErr func(error) bool, wantTook time.Duration, answers ...wire) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			asked, interrupted := 0, 0
			opts.Interrupted = func(error) { interrupted++ }
			krm := connect(t, "http://host", client.Options{Retries: -1, HTTPClient: &http.Client{Timeout: time.Minute, Transport: wire(func(request *http.Request) (*http.Response, error) {
				if asked++; asked > len(answers) {
					return status(403)(request)
				}
				return answers[asked-1](request)
			})}})
			began := time.Now()
			var got []string
			var failed error
			for event, err := range krm.Pods("").Watch(t.Context(), opts) {
				if failed != nil {
					t.Error("the sequence goes on after an error")
				}
				if failed = err; err != nil {
					continue
				}
				text := string(event.Type) + "@" + event.ResourceVersion
				if event.Object != nil {
					text = string(event.Type) + " " + event.Object.Name + "@" + event.ResourceVersion
				}
				if event.Synced {
					text = "synced@" + event.ResourceVersion
				}
				got = append(got, text)
			}
			took := time.Since(began)
			if text := strings.Join(got, ", "); text != wantEvents || !wantErr(failed) || interrupted != wantInterrupted {
				t.Errorf("got %q, %d interruptions, %v; want %q, %d", text, interrupted, failed, wantEvents, wantInterrupted)
			}
			if took < wantTook || took > wantTook+wantTook/10+time.Second {
				t.Errorf("it took %v, want %v", took, wantTook)
			}
		})
	}
	contains := func(text string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
	}
	all, from7 := client.WatchOptions{}, client.WatchOptions{ResourceVersion: "7"}
	f(all, "", 0, apierrors.IsForbidden, 0)
	f(all, "synced@42", 0, apierrors.IsForbidden, 0, lists)
	f(all, "synced@42, ADDED a@43", 0, apierrors.IsForbidden, 0, lists, says(mediaJSON, stream(t, mediaJSON, "ADDED", "a", "43")))
	f(from7, "MODIFIED a@43, BOOKMARK@50", 0, apierrors.IsForbidden, 0, says(mediaProtobuf, stream(t, mediaProtobuf, "MODIFIED", "a", "43", "BOOKMARK", "", "50")))
	// What the caller knows already is told once.
	f(all, "synced@42, ADDED a@43, DELETED a@44", 0, apierrors.IsForbidden, 0, lists,
		says(mediaJSON, stream(t, mediaJSON, "ADDED", "a", "43", "MODIFIED", "a", "43", "DELETED", "a", "44", "DELETED", "a", "44", "DELETED", "b", "45")))
	// Without a list of its own the watch cannot tell what has vanished.
	f(from7, "", 0, apierrors.IsGone, 0, status(410))
	f(from7, "ADDED a@8", 0, apierrors.IsResourceExpired, 0,
		says(mediaJSON, stream(t, mediaJSON, "ADDED", "a", "8")+string(encodeEvent(t, mediaJSON, "ERROR", expired()))))
	f(client.WatchOptions{ResourceVersion: "0"}, "", 0, contains(`"0"`), 0)
	// Garbage would come again.
	f(from7, "", 0, contains("no event"), 0, says(mediaJSON, "<html>"))
	f(from7, "", 0, contains("text/html"), 0, says("text/html", "<html>"))
	f(from7, "", 0, contains("an error that is no Status"), 0, says(mediaJSON, `{"type":"ERROR","object":{}}`))
	f(from7, "", 0, contains(`event of type "NEWS"`), 0, says(mediaJSON, stream(t, mediaJSON, "NEWS", "a", "8")))
	f(from7, "", 0, contains("no resourceVersion"), 0, says(mediaJSON, stream(t, mediaJSON, "ADDED", "a", "")))
	f(from7, "", 0, contains(`got "Status"`), 0, says(mediaJSON, string(encodeEvent(t, mediaJSON, "ADDED", expired()))))
	f(all, "", 0, contains("no resourceVersion"), 0, says(mediaJSON, strings.Replace(list, "42", "", 1)))
	// What may pass is tried again, with growing pauses.
	f(all, "synced@42", 3, apierrors.IsForbidden, 350*time.Millisecond, broken, status(503), lists, status(500))
	f(from7, "", 1, apierrors.IsForbidden, 3*time.Second, says(mediaJSON, string(encodeEvent(t, mediaJSON, "ERROR", &metav1.Status{
		Status: "Failure", Reason: metav1.StatusReasonTooManyRequests, Code: 429, Details: &metav1.StatusDetails{RetryAfterSeconds: 3},
	}))))
	f(all, "synced@42, synced@42", 1, apierrors.IsForbidden, 0, lists, status(410), lists)
	f(from7, "", 1, apierrors.IsForbidden, 30*time.Second, hangs)
	f(from7, "", 2, apierrors.IsForbidden, 4*time.Minute, silent, silent)
	// GiveUp bounds it.
	f(client.WatchOptions{ResourceVersion: "7", GiveUp: 5 * time.Minute}, "", 2, contains("nothing came for 2m0s"), 6*time.Minute, silent, silent, silent, silent)
}

// onlyErr is a body that brings nothing.
type onlyErr struct{ wait func() error }

func (o onlyErr) Read([]byte) (int, error) { return 0, o.wait() }

// TestWatchIsPatient: a loop that takes its time is no silence, and leaving it ends everything.
func TestWatchIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: wire(func(*http.Request) (*http.Response, error) {
			asked++
			return answerOf(200, mediaJSON, strings.NewReader(stream(t, mediaJSON, "ADDED", "a", "8", "ADDED", "b", "9", "ADDED", "c", "10"))), nil
		})}})
		count := 0
		for _, err := range krm.Pods("").Watch(t.Context(), client.WatchOptions{ResourceVersion: "7"}) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if count++; count == 3 {
				break
			}
		}
		if asked != 1 {
			t.Errorf("%d requests, want 1", asked)
		}
	})
}

// TestWatchExpiredForEver: were each watch refused, lists would follow with growing pauses.
func TestWatchExpiredForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
			if request.URL.Query().Get("watch") != "" {
				return answerOf(410, mediaJSON, bytes.NewReader(encode(t, mediaJSON, expired()))), nil
			}
			lists++
			return response(200, onePod), nil
		})}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for _, err := range krm.Pods("").Watch(ctx, client.WatchOptions{}) {
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if lists < 50 || lists > 150 {
			t.Errorf("%d lists in ten minutes, want about 80", lists)
		}
	})
}

// TestWatchOverTheNetwork: real connections, broken in the middle.
func TestWatchOverTheNetwork(t *testing.T) {
	f := func(start func(*httptest.Server)) {
		t.Helper()
		connections := 0
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			media := bestOf(r)
			w.Header().Set("Content-Type", media)
			if r.URL.Query().Get("watch") == "" {
				_, _ = w.Write(encode(t, media, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "5"}}))
				return
			}
			connections++
			switch r.URL.Query().Get("resourceVersion") {
			case "5":
				_, _ = io.WriteString(w, stream(t, media, "ADDED", "a", "6")+stream(t, media, "ADDED", "b", "7")[:20])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			case "6":
				_, _ = io.WriteString(w, stream(t, media, "ADDED", "b", "7", "DELETED", "a", "8"))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
		}))
		server.EnableHTTP2 = true
		start(server)
		t.Cleanup(server.Close)
		krm := connect(t, server.URL, client.Options{HTTPClient: server.Client()})
		var got []string
		for event, err := range krm.Pods("").Watch(t.Context(), client.WatchOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, string(event.Type)); event.Type == client.Deleted {
				break
			}
		}
		if text := strings.Join(got, " "); text != "BOOKMARK ADDED ADDED DELETED" || connections != 2 {
			t.Errorf("got %s over %d connections", text, connections)
		}
	}
	f((*httptest.Server).Start)
	f((*httptest.Server).StartTLS)
	f(func(s *httptest.Server) {
		s.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
		s.EnableHTTP2 = false
		s.StartTLS()
	})
}
