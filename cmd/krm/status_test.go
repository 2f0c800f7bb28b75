package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func TestStatusOutput(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{})
	stdout, stderr, err := run(t, newStatusCommand(), "--server", fake.URL)
	if err != nil || stderr != "" {
		t.Fatalf("stderr %q, error %v", stderr, err)
	}
	golden(t, "status.txt", stdout)
}

// -o json says the same as the server, in another layout.
func TestStatusJSON(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{"/krm/v1/status": "status.json"})
	stdout, _, err := run(t, newStatusCommand(), "--server", fake.URL, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	for text, value := range map[string]*any{string(sent): &want, stdout: &got} {
		if err := json.Unmarshal([]byte(text), value); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(stdout, "{\n    \"resources\": [\n") || !strings.HasSuffix(stdout, "}\n") {
		t.Errorf("got %.60q…", stdout)
	}
}

func TestStatusFails(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	_, _, err := run(t, newStatusCommand(), "--server", closed.URL)
	if err == nil || !strings.Contains(err.Error(), "GET "+closed.URL+"/krm/v1/status: ") ||
		!strings.HasSuffix(err.Error(), `: is krm running? start it with "krm standalone" or give --server`) {
		t.Errorf("nobody there: %v", err)
	}
	if _, _, err := run(t, newStatusCommand(), "-o", "yaml"); err == nil || !strings.Contains(err.Error(), `"yaml"`) ||
		!strings.Contains(err.Error(), "--output") || !strings.HasSuffix(err.Error(), "want json") {
		t.Errorf("-o yaml: %v", err)
	}
	if _, _, err := run(t, newStatusCommand(), "pods"); err == nil {
		t.Error("an argument is accepted")
	}
}

func TestPrintStatus(t *testing.T) {
	f := func(status client.Status, want string) {
		t.Helper()
		var got bytes.Buffer
		if err := printStatus(&got, &status); err != nil || got.String() != want {
			t.Errorf("got\n%serror %v, want\n%s", got.String(), err, want)
		}
	}
	const nothing = "KRM does not watch anything yet: start \"krm streamer\", or \"krm standalone\" for all in one\n"
	f(client.Status{Redis: client.RedisStatus{OK: true}}, nothing)
	f(client.Status{Redis: client.RedisStatus{Message: "dial tcp: \x1b[31mrefused"}},
		"redis: the server does not reach it: dial tcp: ^[[31mrefused\n"+nothing)
	f(client.Status{Resources: []client.ResourceStatus{{Resource: "pods", Synced: true, Objects: 4}}}, ""+
		"RESOURCE   OBJECTS   STREAMED   AGE   VERIFIED   AGE   DRIFT   STATE\n"+
		"pods       4         -          -     -          -     -       unknown\n\nredis: the server does not reach it\n")
}

func TestDiagnose(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	beat := func(role, instance, state string, age time.Duration) client.RoleStatus {
		return client.RoleStatus{Role: role, Instance: instance, State: state, At: now.Add(-age)}
	}
	well := []client.RoleStatus{beat("verifier", "v", "following", 0), beat("aggregator", "a", "following", 0)}
	f := func(wantState, wantRemark string, streamers ...client.RoleStatus) {
		t.Helper()
		got := diagnose(client.ResourceStatus{Resource: "pods", Synced: true, Roles: append(streamers, well...)}, now)
		if remark := strings.Join(got.remarks, "; "); got.state != wantState || remark != wantRemark {
			t.Errorf("got %q, %q, want %q, %q", got.state, remark, wantState, wantRemark)
		}
	}
	f("following", "", beat("streamer", "s", "following", 0))
	f("following", "", beat("streamer", "s", "following", 15*time.Second))
	f("following", "", beat("streamer", "s", "following", -time.Minute)) // its clock is ahead
	f("following", "", beat("streamer", "s", "following", 0), beat("streamer", "t", "standby", 0))
	f("following", "", beat("streamer", "s", "failing", time.Hour), beat("streamer", "t", "following", 0)) // s is long gone
	f("streamer standby", "pods: streamer t: standby", beat("streamer", "s", "following", time.Minute), beat("streamer", "t", "standby", 0))
	f("streamer silent", "pods: streamer t: silent for 2m: is it running?",
		beat("streamer", "s", "following", time.Hour), beat("streamer", "t", "following", 2*time.Minute))
	f("no streamer", `pods: no streamer: start one with "krm streamer --resource pods"`)
	f("streamer absent", "pods: streamer s: absent", beat("streamer", "s", "absent", 0))
	f("streamer dreaming", "pods: streamer s: dreaming", beat("streamer", "s", "dreaming", 0))

	progress := func(want string, synced bool, state string, progress *client.Progress) {
		t.Helper()
		roles := append([]client.RoleStatus{beat("streamer", "s", state, 0)}, well...)
		got := diagnose(client.ResourceStatus{Resource: "pods", Synced: synced, Progress: progress, Roles: roles}, now)
		if got.state != want {
			t.Errorf("got %q, want %q", got.state, want)
		}
	}
	progress("not synced", false, "following", nil)
	progress("not synced (50%)", false, "following", &client.Progress{Received: 1, Expect: 2})
	progress("following", true, "following", &client.Progress{Received: 2, Expect: 2})
	progress("streamer syncing (24%)", false, "syncing", &client.Progress{Received: 249, Expect: 1000})
	progress("streamer syncing (100%)", false, "syncing", &client.Progress{Received: 30, Expect: 20})
	progress("streamer syncing (3 objects so far)", false, "syncing", &client.Progress{Received: 3})
	progress("streamer syncing", false, "syncing", &client.Progress{})
	progress("streamer failing", false, "failing", &client.Progress{Received: 1, Expect: 2})
}
