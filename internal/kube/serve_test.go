package kube

import (
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var pods = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Namespaced: true}

// script is an API server that plays what a test wrote, and remembers what it was asked.
type script struct {
	mu    sync.Mutex
	asked []*http.Request
}

// last returns the query of the last request.
func (s *script) last(t *testing.T) url.Values {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		t.Fatal("the server was not asked")
	}
	return s.asked[len(s.asked)-1].URL.Query()
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// serve starts a server for the test and returns a client of it.
func serve(t *testing.T, opts Options, answer http.HandlerFunc) (*Client, *script) {
	t.Helper()
	s := &script{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return connect(t, &rest.Config{Host: server.URL}, opts), s
}

func connect(t *testing.T, config *rest.Config, opts Options) *Client {
	t.Helper()
	c, err := Connect(config, opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// say answers every request with text.
func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// refuse answers every request with a Status.
func refuse(code int, reason, details string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server's words","reason":%q,"details":{%s},"code":%d}`, reason, details, code)
	}
}

// pod is the text of a small pod with managedFields; cutPod is what is kept of it.
func pod(name, version string) string {
	return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":"a","uid":"uid-%s","resourceVersion":%q,"managedFields":[{"manager":"kubelet"}]},"spec":{}}`, name, name, version)
}

func cutPod(name, version string) string {
	return strings.Replace(pod(name, version), `,"managedFields":[{"manager":"kubelet"}]`, "", 1)
}

// row is one row of a Table.
func row(object, cells string) string {
	return fmt.Sprintf(`{"cells":[%s],"object":%s}`, cells, object)
}

// table is a Table in the form of the API server. columns is "null" or an array.
func table(metadata, columns string, rows ...string) string {
	return fmt.Sprintf(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{%s},"columnDefinitions":%s,"rows":[%s]}`, metadata, columns, strings.Join(rows, ","))
}

const nameColumn = `[{"name":"Name","type":"string","format":"name","description":"d","priority":0}]`

// event is one frame of a watch in Table form.
func event(kind, object, cells, version, columns string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, table(fmt.Sprintf(`"resourceVersion":%q`, version), columns, row(object, cells))) + "\n"
}

func podEvent(kind, name, version string) string {
	return event(kind, pod(name, version), fmt.Sprintf("%q", name), version, "null")
}

// mark is a bookmark, as a real server sends it.
func mark(version, annotations string) string {
	object := fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":%q%s},"spec":{"containers":null},"status":{}}`, version, annotations)
	return event("BOOKMARK", object, `""`, version, "null")
}

const initialEnd = `,"annotations":{"k8s.io/initial-events-end":"true"}`

// told is what a sequence of events told, one line each, and the error at its end.
func told(events iter.Seq2[object.Event, error]) (lines []string, err error) {
	for e, err := range events {
		if err != nil {
			return lines, err
		}
		lines = append(lines, line(e))
	}
	return lines, nil
}

func line(e object.Event) string {
	switch e.Type {
	case object.Columns:
		return fmt.Sprintf("%v %d", e.Type, len(e.Columns))
	case object.Bookmark, object.InitialEnd:
		return fmt.Sprintf("%v %s", e.Type, e.Version)
	}
	return fmt.Sprintf("%v %v %s %s %s %s", e.Type, e.Record.Key, e.Record.UID, e.Record.Version, e.Record.Body, e.Record.Cells)
}
