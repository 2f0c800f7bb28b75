package influx

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// server2 answers as InfluxDB 2 is documented to (its OpenAPI description, and "Troubleshoot
// issues writing data"). It is for buckets, writes and faults; Flux is tested on a real server.
type server2 struct {
	*httptest.Server
	mu       sync.Mutex
	buckets  []*bucket2
	requests []string
	// answer, if any, may answer a request instead; it says whether it did.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

type bucket2 struct {
	ID    string  `json:"id"`
	OrgID string  `json:"orgID"`
	Name  string  `json:"name"`
	Rules []rule2 `json:"retentionRules"`
	lines map[string]bool
}

type rule2 struct {
	Type  string `json:"type"`
	Every int64  `json:"everySeconds"`
	Shard int64  `json:"shardGroupDurationSeconds"`
}

const (
	goodToken   = "planted-token-1fX"
	readToken   = "token-that-may-not-make-buckets"
	unparseable = "cannot-be-parsed"
)

// orgs of the server, by name.
var orgs2 = map[string]string{"acme": "0000000000000001", "other": "0000000000000002"}

func newServer2(t *testing.T) *server2 {
	s := &server2{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func fail2(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// The field err is documented: a client must not stumble over it.
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message, "op": "fake", "err": message})
}

func (s *server2) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Token ")
	switch {
	case r.URL.Path == "/ping":
		w.WriteHeader(http.StatusNoContent)
	case s.answer != nil && s.answer(w, r):
	case token != goodToken && token != readToken:
		fail2(w, http.StatusUnauthorized, "unauthorized", "unauthorized access")
	case r.Method == http.MethodGet && r.URL.Path == "/api/v2/orgs":
		s.orgs(w, r)
	case r.URL.Path == "/api/v2/write":
		s.write(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/v2/buckets"):
		s.serveBuckets(w, r, token)
	default:
		fail2(w, http.StatusNotFound, "not found", "path not found")
	}
}

func (s *server2) orgs(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("org")
	if orgs2[name] == "" {
		fail2(w, http.StatusNotFound, "not found", fmt.Sprintf("organization name %q not found", name))
		return
	}
	answer2(w, http.StatusOK, map[string]any{"orgs": []map[string]string{{"id": orgs2[name], "name": name}}})
}

func answer2(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *server2) serveBuckets(w http.ResponseWriter, r *http.Request, token string) {
	var asked struct {
		bucket2
		Rules *[]rule2 `json:"retentionRules"`
	}
	if r.Method != http.MethodGet {
		if token == readToken {
			fail2(w, http.StatusUnauthorized, "unauthorized", "write:orgs/0000000000000001/buckets is unauthorized")
			return
		}
		if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Rules == nil {
			fail2(w, http.StatusBadRequest, "invalid", "retentionRules wanted")
			return
		}
		for _, rule := range *asked.Rules {
			if rule.Every != 0 && rule.Shard > rule.Every {
				fail2(w, http.StatusUnprocessableEntity, "unprocessable entity", "retention policy duration must be greater than the shard duration")
				return
			}
		}
	}
	switch r.Method {
	case http.MethodGet:
		org, found := r.URL.Query().Get("org"), []*bucket2{}
		if org != "" && orgs2[org] == "" {
			fail2(w, http.StatusNotFound, "not found", fmt.Sprintf("organization name %q not found", org))
			return
		}
		for _, b := range s.buckets {
			if b.Name == r.URL.Query().Get("name") && (org == "" || b.OrgID == orgs2[org]) {
				found = append(found, b)
			}
		}
		answer2(w, http.StatusOK, map[string]any{"buckets": found})
	case http.MethodPost:
		b := s.add(asked.OrgID, asked.Name, (*asked.Rules)...)
		answer2(w, http.StatusCreated, b)
	case http.MethodPatch:
		for _, b := range s.buckets {
			if strings.HasSuffix(r.URL.Path, "/"+b.ID) {
				b.Rules = *asked.Rules
				answer2(w, http.StatusOK, b)
			}
		}
	}
}

func (s *server2) add(org, name string, rules ...rule2) *bucket2 {
	b := &bucket2{ID: fmt.Sprintf("%016x", len(s.buckets)+100), OrgID: org, Name: name, Rules: rules, lines: map[string]bool{}}
	s.buckets = append(s.buckets, b)
	return b
}

func (s *server2) bucket(org, name string) *bucket2 {
	for _, b := range s.buckets {
		if b.OrgID == orgs2[org] && b.Name == name {
			return b
		}
	}
	return nil
}

func (s *server2) write(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if orgs2[q.Get("org")] == "" {
		fail2(w, http.StatusNotFound, "not found", fmt.Sprintf("organization name %q not found", q.Get("org")))
		return
	}
	b := s.bucket(q.Get("org"), q.Get("bucket"))
	if b == nil {
		fail2(w, http.StatusNotFound, "not found", fmt.Sprintf("bucket %q not found", q.Get("bucket")))
		return
	}
	lines := strings.Split(string(bodyOf(r)), "\n")
	conflicts := 0
	for _, line := range lines {
		if strings.Contains(line, unparseable) { // nothing is stored
			fail2(w, http.StatusBadRequest, "invalid", fmt.Sprintf("unable to parse '%s': missing fields", line))
			return
		}
	}
	for _, line := range lines {
		if strings.Contains(line, "conflict") {
			conflicts++
			continue
		}
		b.lines[line] = true
	}
	if conflicts > 0 {
		fail2(w, http.StatusUnprocessableEntity, "unprocessable entity", fmt.Sprintf(
			"failure writing points to database: partial write: field type conflict: input field \"value\" on measurement \"m\" is type float, already exists as type integer dropped=%d", conflicts))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// bodyOf reads a body whole, unpacked.
func bodyOf(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		body, _ = io.ReadAll(unpacked)
	}
	return body
}

func (s *server2) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.HasPrefix(request, what) {
			n++
		}
	}
	return n
}

func (s *server2) set(answer func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server2) options() Options {
	return Options{
		URL: s.URL, Token: goodToken, Org: "acme", Bucket: "k8s", Retention: 720 * time.Hour, Timeout: 10 * time.Second,
		Metrics: metricdb.NewMetrics(nil),
	}
}

// opened is a store, and what it logs.
func opened(t *testing.T, options Options) (*Store, *bytes.Buffer) {
	t.Helper()
	logs := &bytes.Buffer{}
	s, err := Open(options, slog.New(slog.NewTextHandler(&locked{w: logs}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, logs
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// linesOf makes a piece of n points.
func linesOf(n int, marks ...string) piece {
	p := piece{policy: samplePolicy, samples: n}
	for i := range n {
		mark := ""
		if i < len(marks) {
			mark = marks[i]
		}
		p.lines = fmt.Appendf(p.lines, "m,i=%d%s value=1i %d\n", i, mark, 1772359200000000000+i)
	}
	return p
}
