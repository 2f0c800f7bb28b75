//go:build integration

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestRealLists compares our lists with those of a real kube-apiserver, made
// from its own objects: byte for byte in JSON, by what they say in protobuf,
// since its types may be older or newer than ours.
func TestRealLists(t *testing.T) {
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster; hack/with-cluster.sh starts one")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	get := func(path, accept string) []byte {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s as %s: %s %v: %s", path, accept, response.Status, err, text)
		}
		return text
	}
	same, objects := 0, 0
	for path, kind := range map[string]string{
		"/api/v1/pods": "Pod", "/api/v1/nodes": "Node", "/api/v1/services": "Service", "/api/v1/configmaps": "ConfigMap", "/api/v1/namespaces": "Namespace",
		"/api/v1/events": "Event", "/api/v1/serviceaccounts": "ServiceAccount", "/api/v1/secrets": "Secret",
		"/apis/apps/v1/deployments": "Deployment", "/apis/apps/v1/replicasets": "ReplicaSet", "/apis/apps/v1/controllerrevisions": "ControllerRevision",
		"/apis/coordination.k8s.io/v1/leases": "Lease", "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice", "/apis/rbac.authorization.k8s.io/v1/clusterroles": "ClusterRole",
		"/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas": "FlowSchema", "/apis/apiregistration.k8s.io/v1/apiservices": "APIService",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
	} {
		group, err := schema.ParseGroupVersion(strings.TrimPrefix(strings.TrimPrefix(path[:strings.LastIndexByte(path, '/')], "/apis/"), "/api/"))
		if err != nil {
			t.Fatal(err)
		}
		c := NewCodec(resourceOf(group.WithKind(kind)))
		text := get(path+"?limit=30", "application/json")
		var list struct {
			Metadata metav1.ListMeta
			Items    []json.RawMessage
		}
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		meta := ListMeta{Version: list.Metadata.ResourceVersion, Continue: list.Metadata.Continue, Remaining: list.Metadata.RemainingItemCount}
		var items, messages, partials [][]byte
		for _, item := range list.Items {
			body := append([]byte(c.item), item[1:]...)
			items = append(items, append([]byte("{"), body[c.Item(body):]...))
			partial, err := NewMetadataCodec().JSON(body)
			if err != nil {
				t.Fatal(err)
			}
			partials = append(partials, partial)
			if c.Typed() {
				message, err := c.Protobuf(body)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				messages = append(messages, message)
			}
			objects++
		}
		if got := jsonList(c, meta, items); !bytes.Equal(got, text) {
			t.Errorf("%s: JSON differs:\n%.300s\n%.300s", path, got, text)
		}
		exact := path + "?limit=30&resourceVersionMatch=Exact&resourceVersion=" + meta.Version
		// The continue token tells what was asked; the rest must be the same.
		withToken := func(metadata metav1.ListMeta) ListMeta {
			return ListMeta{Version: metadata.ResourceVersion, Continue: metadata.Continue, Remaining: metadata.RemainingItemCount}
		}
		text = get(exact, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		// An empty one has null items there. Lists of objects have [], and so have all of ours.
		text = bytes.Replace(text, []byte(`"items":null}`), []byte(`"items":[]}`), 1)
		if got := jsonList(NewMetadataCodec(), withToken(list.Metadata), partials); !bytes.Equal(got, text) {
			t.Errorf("%s: metadata differs:\n%.300s\n%.300s", path, got, text)
		}
		if !c.Typed() {
			continue
		}
		binary := get(exact, "application/vnd.kubernetes.protobuf")
		decoded := jsonOf(t, binary)
		if err := json.Unmarshal(decoded, &list); err != nil {
			t.Fatal(err)
		}
		got := protobufList(t, c, withToken(list.Metadata), messages)
		if again := jsonOf(t, got); !bytes.Equal(again, decoded) {
			t.Errorf("%s: protobuf says other things:\n%.300s\n%.300s", path, again, decoded)
		}
		if bytes.Equal(got, binary) {
			same++
		} else {
			t.Logf("%s: other bytes in protobuf, same content", path)
		}
	}
	t.Logf("%d objects; %d protobuf lists are the same bytes", objects, same)
	if objects < 50 {
		t.Errorf("%d objects only", objects)
	}
}
