package discovery

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Serve answers a GET or HEAD request for a description of the API, and returns
// false, having written nothing, if there is nothing of that kind at the path: it
// is another's, or 404. Before the first documents are there it answers 503 for
// what it cannot make of the served resources alone, unless the scope says that
// the API server itself may be asked.
func (d *Discovery) Serve(w http.ResponseWriter, r *http.Request) (handled bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !describes(r.URL.Path) {
		return false
	}
	path := r.URL.Path
	if !strings.HasPrefix(path, "/openapi/") {
		path = strings.TrimSuffix(path, "/")
	}
	v := d.current()
	name, f, refused := negotiate(v, path, r)
	p := v.pages[name]
	switch {
	case p == nil && v.awaits(path):
		unavailable(w)
	case p == nil:
		return false
	case refused != nil:
		refused(w)
	default:
		d.write(w, r, path, p, f)
	}
	return true
}

// describes says whether path has the form of one that we answer.
func describes(path string) bool {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	switch parts[0] {
	case "version":
		return len(parts) == 1
	case "api":
		return len(parts) <= 2
	case "apis":
		return len(parts) <= 3
	case "openapi":
		return len(parts) > 1
	}
	return false
}

// awaits says whether what is at path will be known when there are documents.
func (v *view) awaits(path string) bool {
	if len(v.documents.ByPath) > 0 || v.cutter.scope != ScopeServed {
		return false
	}
	return len(v.cutter.ordered) == 0 || path == "/version" || strings.HasPrefix(path, "/openapi/")
}

// write answers with p in form f.
func (d *Discovery) write(w http.ResponseWriter, r *http.Request, path string, p *page, f accepted) {
	header := w.Header()
	header.Set("Vary", "Accept")
	if f.aggregated {
		header.Set("Cache-Control", "public")
	} else {
		header.Set("Cache-Control", "no-cache, private")
	}
	header.Set("ETag", strconv.Quote(p.etag))
	if hash := r.URL.Query().Get("hash"); hash != "" && strings.HasPrefix(path, openAPIRoot+"/") {
		if hash != p.etag {
			header.Set("Location", at(path, p.etag))
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		header.Set("Cache-Control", "public, immutable")
		header.Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	if headers.HasTag(r, strconv.Quote(p.etag)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	a, err := p.in(f.form)
	if err != nil {
		d.log.Error("a description of the API cannot be made", "path", path, "form", string(f.form), "err", err)
		for _, name := range []string{"ETag", "Expires"} {
			header.Del(name)
		}
		header.Set("Cache-Control", "no-cache, private")
		writeStatus(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "Internal error occurred: see the server's log", &metav1.StatusDetails{})
		return
	}
	body := a.body
	if a.gzipped != nil {
		header.Add("Vary", "Accept-Encoding")
		if headers.AcceptsGzip(r) {
			header.Set("Content-Encoding", "gzip")
			body = a.gzipped
		}
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away
	}
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeStatus(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		"the API server's documents are not there yet: a streamer brings them", &metav1.StatusDetails{RetryAfterSeconds: 1})
}

func writeStatus(w http.ResponseWriter, code int, reason metav1.StatusReason, message string, details *metav1.StatusDetails) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: message, Reason: reason, Details: details, Code: int32(code),
	}); err != nil {
		panic("BUG: encode a Status: " + err.Error())
	}
	text := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text)
}

// aggregatedName returns the name of path's aggregated form, "" if it has none.
func aggregatedName(path string) string {
	switch path {
	case "/api":
		return object.AggregatedCore
	case "/apis":
		return object.AggregatedGroups
	}
	return ""
}
