package main

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-update writes it anew):\n%s", file, diff)
	}
}

// fakeKRM answers paths with files in testdata: answers has "PATH" for JSON and
// "PATH as Table" for tables. It remembers the last query, and what was not found.
type fakeKRM struct {
	*httptest.Server
	answers map[string]string
	header  http.Header
	query   string
	missed  []string
}

func newFakeKRM(t *testing.T, answers map[string]string) *fakeKRM {
	t.Helper()
	fake := &fakeKRM{answers: answers, header: http.Header{}}
	fake.Server = httptest.NewServer(fake)
	t.Cleanup(fake.Close)
	return fake
}

func (f *fakeKRM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, found := "status.json", r.URL.Path == "/krm/v1/status"
	if !found {
		f.query = r.URL.RawQuery
		if r.Header.Get("Accept") == acceptTable {
			file, found = f.answers[r.URL.Path+" as Table"]
		}
		if !found {
			file, found = f.answers[r.URL.Path]
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", "Sun, 01 Mar 2026 12:00:01 GMT")
	for name, values := range f.header {
		w.Header()[name] = values
	}
	if !found {
		f.missed = append(f.missed, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound","message":"pods \"nope\" not found"}`))
		return
	}
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

// run runs one of the reading commands as the root would.
func run(t *testing.T, cmd *cobra.Command, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&complaints)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), complaints.String(), err
}
