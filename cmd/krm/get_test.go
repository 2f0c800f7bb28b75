package main

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const defaultPods = "/api/v1/namespaces/default/pods"

func TestGetOutput(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{
		defaultPods + " as Table":                      "pods.table.json",
		defaultPods:                                    "pods.list.json",
		defaultPods + "/web-1":                         "pod.json",
		"/api/v1/pods as Table":                        "pods.table.json",
		"/api/v1/namespaces/none/pods":                 "pods.nolist.json",
		"/api/v1/nodes":                                "nodes.list.json",
		"/apis/apps/v1/namespaces/default/deployments": "deployments.list.json",
		"/apis/apps/v1/deployments":                    "deployments.list.json",
		"/apis/example.com/v1alpha1/namespaces/default/widgets as Table":     "widgets.table.json",
		"/apis/example.com/v1alpha1/namespaces/default/widgets/big as Table": "widgets.table.json",
	})
	f := func(file string, args ...string) {
		t.Helper()
		stdout, stderr, err := run(t, newGetCommand(), append(args, "--server", fake.URL)...)
		if err != nil || stderr != "" {
			t.Errorf("get %q: error %v, stderr %q", args, err, stderr)
			return
		}
		golden(t, file, stdout)
	}
	f("get-pods.txt", "pods")
	f("get-pods.txt", "po", "-n", "default", "-l", "app=web")
	f("get-pods-wide.txt", "pod", "-o", "wide")
	f("get-pods-all.txt", "Pods", "-A")
	f("get-pods.json", "pods", "-o", "json")
	f("get-pods.yaml", "pods", "-o", "yaml")
	f("get-pods.name", "pods", "-o", "name")
	f("get-pods-none.json", "pods", "-n", "none", "-o", "json")
	f("get-pods-none.yaml", "pods", "-n", "none", "-o", "yaml")
	f("get-pods-none.name", "pods", "-n", "none", "-o", "name")
	f("get-pod.json", "pod", "web-1", "-o", "json")
	f("get-pod.yaml", "pod/web-1", "-o", "yaml")
	f("get-pod.name", "pod/web-1", "-o", "name")
	f("get-deployments.name", "deploy", "-o", "name")
	f("get-widgets.txt", "widgets.example.com")
	f("get-widgets-wide.txt", "widget.v1alpha1.example.com", "-o", "wide")
	f("get-widgets.txt", "widget", "big")
}

// A server without tables is read all the same.
func TestGetPlainAnswer(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{
		"/api/v1/nodes":             "nodes.list.json",
		"/apis/apps/v1/deployments": "deployments.list.json",
	})
	f := func(heading, row string, args ...string) {
		t.Helper()
		stdout, _, err := run(t, newGetCommand(), append(args, "--server", fake.URL)...)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(stdout, "\n")
		if lines[0] != heading || !strings.HasPrefix(lines[1], row) || !strings.HasSuffix(lines[1], "y") {
			t.Errorf("get %q:\n%s", args, stdout)
		}
	}
	f("NAME     AGE", "node-1   ", "nodes")
	f("NAME     AGE", "node-1   ", "nodes", "-A")
	f("NAMESPACE   NAME   AGE", "default     web    ", "deployments.apps", "-A")
}

func TestGetNothing(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{
		defaultPods:                    "pods.empty.json",
		"/api/v1/namespaces/shop/pods": "pods.nolist.json",
		"/api/v1/pods":                 "pods.empty.json",
		"/api/v1/namespaces":           "pods.empty.json",
	})
	f := func(want string, args ...string) {
		t.Helper()
		stdout, stderr, err := run(t, newGetCommand(), append(args, "--server", fake.URL)...)
		if err != nil || stdout != "" || stderr != want {
			t.Errorf("get %q: stdout %q, stderr %q, error %v", args, stdout, stderr, err)
		}
	}
	f("No resources found in default namespace.\n", "pods")
	f("No resources found in shop namespace.\n", "pods", "-n", "shop")
	f("No resources found\n", "pods", "-A")
	f("No resources found\n", "ns")
}

func TestGetWarns(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{defaultPods: "pods.list.json"})
	fake.header["Warning"] = []string{`299 krm "95 s old, more than 90 s"`, `299 krm "and \"more\""`}
	stdout, stderr, err := run(t, newGetCommand(), "pods", "-o", "name", "--server", fake.URL)
	if err != nil || stdout != "pod/db-0\npod/web-1\n" || stderr != "Warning: 95 s old, more than 90 s\nWarning: and \"more\"\n" {
		t.Errorf("stdout %q, stderr %q, error %v", stdout, stderr, err)
	}
}

func TestGetAsks(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{defaultPods: "pods.list.json"})
	f := func(want string, args ...string) {
		t.Helper()
		if _, _, err := run(t, newGetCommand(), append(args, "--server", fake.URL)...); err != nil {
			t.Error(err)
		}
		if fake.query != want {
			t.Errorf("get %q: query %q, want %q", args, fake.query, want)
		}
	}
	f("includeObject=Metadata", "pods")
	f("labelSelector=a+in+%28b%2Cc%29", "pods", "-o", "json", "-l", "a in (b,c)")
}

func TestGetFails(t *testing.T) {
	fake := newFakeKRM(t, map[string]string{defaultPods: "pods.list.json"})
	closed := httptest.NewServer(nil)
	closed.Close()
	f := func(wantUsage bool, args []string, wants ...string) {
		t.Helper()
		stdout, _, err := run(t, newGetCommand(), append([]string{"--server", fake.URL}, args...)...)
		if err == nil || stdout != "" {
			t.Errorf("get %q: error %v, stdout %q", args, err, stdout)
			return
		}
		var usage usageError
		if errors.As(err, &usage) != wantUsage {
			t.Errorf("get %q: usage error %v, want %v: %v", args, !wantUsage, wantUsage, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("get %q: %q does not say %q", args, err, want)
			}
		}
	}
	// cobra's own errors become usage errors in the root command
	f(false, []string{"pods", "-o", "xml"}, "--output", `"xml"`, "want wide, json, yaml or name")
	f(false, []string{"pods", "-l", "a in b"}, "--selector", `"a in b"`, "want labels such as app=web")
	f(false, []string{"pods", "-n", ""}, "--namespace", `""`, "want a name")
	f(false, []string{"pods", "-n", "a/b"}, "--namespace", `"a/b"`, "may not contain '/'")
	f(false, []string{"pods", "--timeout", "5"}, "--timeout", `"5"`, "missing unit")
	f(true, []string{"pods", "--timeout", "0s"}, "--timeout=0s", "want more than 0")
	f(true, []string{"pods", "--server", "localhost:8080"}, "--server", `"localhost:8080"`, "want http://")
	f(true, []string{"pods", "--server", "https://127.0.0.1:1", "--ca-file", "testdata/pod.json"}, "--ca-file", "pod.json", "want PEM")
	f(true, []string{"pods", "--server", "https://127.0.0.1:1", "--ca-file", "testdata/none"}, "--ca-file", "no such file")
	f(true, []string{"pods", ""}, `name ""`)
	f(true, []string{"pod/"}, `name ""`)
	f(true, []string{"pod/a", "b"}, "pod/a b", "RESOURCE/NAME")
	f(true, []string{"pods", "a/b"}, `name "a/b"`)
	f(true, []string{"pods", "web", "-A"}, "--all-namespaces", `"web"`)
	f(true, []string{"pods", "web", "-l", "a=b"}, "--selector", `"web"`)

	f(false, []string{"secrets"}, `"secrets"`, "only namespaces, nodes, persistentvolumeclaims, pods, services, deployments.apps")
	f(false, []string{"pods", "nope"}, `pods "nope" not found`)
	f(false, []string{"pods", "--server", closed.URL, "--timeout", "1s"}, closed.URL, `is krm running? start it with "krm standalone" or give --server`)
	f(false, []string{"pods", "--token-file", "testdata/none"}, "read the token", "no such file")

	_, _, err := run(t, newGetCommand(), "pods", "nope", "--server", fake.URL)
	if !apierrors.IsNotFound(err) {
		t.Errorf("%T %v, want the server's 404", err, err)
	}
}

func TestCompletion(t *testing.T) {
	fake := newFakeKRM(t, nil)
	t.Setenv("KRM_SERVER", fake.URL)
	f := func(wants []string, args ...string) {
		t.Helper()
		root := newGetCommand()
		if args[0] == "verify" {
			root = newVerifyCommand()
		}
		stdout, _, err := run(t, root, append([]string{"__complete", "--server", fake.URL}, args[1:]...)...)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		if got := lines[:len(lines)-1]; !slices.Equal(got, wants) {
			t.Errorf("%q: got %q, want %q", args, got, wants)
		}
	}
	all := []string{
		"namespaces", "nodes", "persistentvolumeclaims", "pods", "services", "deployments.apps", "widgets.example.com", "ingresses.networking.k8s.io",
	}
	f(all, "get", "")
	f(nil, "get", "pods", "")
	f([]string{"wide", "json", "yaml", "name"}, "get", "pods", "-o", "")
	f(slices.Delete(slices.Clone(all), 3, 4), "verify", "pods", "")
}
