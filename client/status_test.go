package client_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func TestStatus(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	krm := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/krm/v1/status" {
			t.Errorf("requested %s", r.URL)
		}
		w.Header().Set("Date", "Sun, 01 Mar 2026 12:00:01 GMT")
		reply(200, string(golden))(w, r)
	})
	got, err := krm.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := &client.Status{
		At:    noon.Add(time.Second),
		Redis: client.RedisStatus{OK: true},
		Resources: []client.ResourceStatus{
			{
				Resource: "pods", Kind: "Pod", Version: "v1", Namespaced: true, Synced: true, Objects: 12,
				Freshness: client.Freshness{
					StreamedResourceVersion: "1042", StreamedAt: noon.Add(250 * time.Millisecond),
					VerifiedResourceVersion: "1040", VerifiedAt: noon.Add(-30 * time.Second),
				},
				Drift: client.Drift{Missing: 1, Stale: 2, Ghost: 3, Altered: 4}, LastDrift: client.Drift{Ghost: 1},
				VerifiedRounds: 7, Late: 1,
				Roles: []client.RoleStatus{
					{Role: "streamer", Instance: "krm-1", State: "following", At: noon},
					{Role: "verifier", Instance: "krm-1", State: "unreachable", Message: "no route to host", At: noon},
				},
			},
			{
				Resource: "deployments.apps", Kind: "Deployment", Group: "apps", Version: "v1", Namespaced: true,
				Progress: &client.Progress{Received: 3, Expect: 10}, Roles: []client.RoleStatus{},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if total := got.Resources[0].Drift.Total(); total != 10 {
		t.Errorf("the total drift is %d, want 10", total)
	}
}

func TestStatusOfSomethingElse(t *testing.T) {
	for _, body := range []string{"", "{}", "[]", "null", `{"resources":{}}`, `{"kind":"Status"}`} {
		status, err := serve(t, reply(200, body)).Status(t.Context())
		if err == nil || status != nil {
			t.Errorf("%q: got %v, %v, want an error", body, status, err)
		}
	}
	if _, err := serve(t, reply(200, `{"resources":[]}`)).Status(t.Context()); err != nil {
		t.Errorf("nothing is watched yet: %v", err)
	}
}

func TestVerify(t *testing.T) {
	f := func(opts client.VerifyOptions, wantQuery string, code int, body string, wantErr func(error) bool) {
		t.Helper()
		calls := 0
		krm := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			if r.Method != http.MethodPost || r.URL.Path != "/krm/v1/verify" || r.URL.RawQuery != wantQuery {
				t.Errorf("requested %s %s", r.Method, r.URL)
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
		if err := krm.Verify(t.Context(), "deployments.apps", opts); !wantErr(err) {
			t.Errorf("%d: got %v", code, err)
		}
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	}
	none := func(err error) bool { return err == nil }
	f(client.VerifyOptions{}, "resource=deployments.apps", 202, "", none)
	f(client.VerifyOptions{Full: true}, "full=true&resource=deployments.apps", 202, "{}", none)
	f(client.VerifyOptions{}, "resource=deployments.apps", 404, "not watched", apierrors.IsNotFound)
	f(client.VerifyOptions{}, "resource=deployments.apps", 503, "", func(err error) bool {
		return apierrors.IsServiceUnavailable(err) && strings.Contains(err.Error(), "POST http://")
	})
}
