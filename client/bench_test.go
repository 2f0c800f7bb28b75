package client_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// realisticPod has what the pods of a Deployment have: about 5 KB of JSON.
func realisticPod(i int) corev1.Pod {
	now := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, i%60, 0, time.UTC))
	name := fmt.Sprintf("web-%d-7d9c5b8f6d-%05d", i%100, i)
	probe := &corev1.Probe{
		ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080), Scheme: "HTTP"}},
		TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
	}
	container := func(name string) corev1.Container {
		return corev1.Container{
			Name: name, Image: "registry.example.com/shop/" + name + ":1.2.3", ImagePullPolicy: "IfNotPresent",
			Args:  []string{"--listen=:8080", "--log-format=json", "--upstream=http://api.default.svc.cluster.local"},
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}},
			Env: []corev1.EnvVar{
				{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
				{Name: "REGION", Value: "eu-central-1"},
			},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
				Limits:   corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("512Mi")},
			},
			VolumeMounts:  []corev1.VolumeMount{{Name: "kube-api-access-abcde", ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}},
			LivenessProbe: probe, ReadinessProbe: probe, TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
		}
	}
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: fmt.Sprintf("team-%d", i%100), UID: types.UID(fmt.Sprintf("7f1c6a52-0000-4000-8000-%012d", i)), ResourceVersion: fmt.Sprint(100000 + i),
			GenerateName: "web-7d9c5b8f6d-", CreationTimestamp: now,
			Labels:          map[string]string{"app": fmt.Sprint("web-", i%100), "pod-template-hash": "7d9c5b8f6d", "team": "shop", "app.kubernetes.io/part-of": "shop"},
			Annotations:     map[string]string{"checksum/config": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", "prometheus.io/scrape": "true"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7d9c5b8f6d", UID: "8f1c6a52-0000-4000-8000-000000000000", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			Volumes:    []corev1.Volume{{Name: "kube-api-access-abcde", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Containers: []corev1.Container{container("web"), container("sidecar")}, RestartPolicy: "Always", DNSPolicy: "ClusterFirst",
			ServiceAccountName: "default", NodeName: fmt.Sprint("node-", i%200), SecurityContext: &corev1.PodSecurityContext{}, SchedulerName: "default-scheduler",
			Tolerations: []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(300))}},
		},
		Status: corev1.PodStatus{Phase: "Running", HostIP: "10.0.0.1", PodIP: "10.244.1.2", PodIPs: []corev1.PodIP{{IP: "10.244.1.2"}}, StartTime: &now, QOSClass: "Burstable"},
	}
	for _, kind := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: "True", LastTransitionTime: now})
	}
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image + "@sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", Ready: true, Started: new(true),
			ContainerID: "containerd://6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return pod
}

func podList(count int) *corev1.PodList {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "200000"}}
	for i := range count {
		list.Items = append(list.Items, realisticPod(i))
	}
	return list
}

// standIn answers lists of pods from memory, as KRM does.
func standIn(b *testing.B, count int) *httptest.Server {
	list := podList(count)
	bodies := map[string][]byte{mediaJSON: encode(b, mediaJSON, list), mediaProtobuf: encode(b, mediaProtobuf, list)}
	zipped := map[string][]byte{}
	for media, body := range bodies {
		var buffer bytes.Buffer
		writer, _ := gzip.NewWriterLevel(&buffer, 4)
		_, _ = writer.Write(body)
		_ = writer.Close()
		zipped[media] = buffer.Bytes()
		b.Logf("%s: %d bytes, gzip %d", media, len(body), buffer.Len())
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media := bestOf(r)
		body := bodies[media]
		w.Header().Set("Content-Type", media)
		w.Header().Set("ETag", `W/"1"`)
		if r.Header.Get("If-None-Match") == `W/"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.Header.Get("Accept-Encoding") == "gzip" {
			body = zipped[media]
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.Close)
	return server
}

// BenchmarkList compares, on the same bytes of 10,000 pods over TLS, this package
// with client-go, and the ways to ask.
func BenchmarkList(b *testing.B) {
	const count = 10_000
	server := standIn(b, count)
	ca := pemOf(server.Certificate())
	dial := func(compression client.Compression) *client.Client {
		krm, err := client.New(server.URL, client.Options{CAData: ca, Compression: compression})
		if err != nil {
			b.Fatal(err)
		}
		return krm
	}
	krm := dial("")
	ask := func(name string, krm *client.Client, call func(krm *client.Client) (int, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, err := call(krm); err != nil || got != count {
					b.Fatal(got, err)
				}
			}
		})
	}
	typed := func(krm *client.Client) (int, error) {
		list, _, err := krm.Pods("").List(b.Context(), client.ListOptions{})
		if err != nil {
			return 0, err
		}
		return len(list.Items), nil
	}
	raw := func(accept string) func(krm *client.Client) (int, error) {
		return func(krm *client.Client) (int, error) {
			_, _, err := krm.Get(b.Context(), client.Request{Path: "/api/v1/pods", Accept: accept})
			return count, err
		}
	}
	ask("typed", krm, typed)
	clientset, err := kubernetes.NewForConfig(krm.RESTConfig())
	if err != nil {
		b.Fatal(err)
	}
	ask("client-go", krm, func(*client.Client) (int, error) {
		list, err := clientset.CoreV1().Pods("").List(b.Context(), metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		return len(list.Items), nil
	})
	cached := krm.Pods("").Cached(client.ListOptions{})
	if _, _, err := cached.Shared(b.Context()); err != nil {
		b.Fatal(err)
	}
	ask("304, shared", krm, func(*client.Client) (int, error) {
		list, _, err := cached.Shared(b.Context())
		return len(list.Items), err
	})
	ask("304, copied", krm, func(*client.Client) (int, error) {
		list, _, err := cached.List(b.Context())
		return len(list.Items), err
	})
	ask("typed, gzip", dial(client.Gzip), typed)
	ask("bytes of JSON", krm, raw(mediaJSON))
	ask("bytes of JSON, gzip", dial(client.Gzip), raw(mediaJSON))
}

// BenchmarkDecode compares decoding alone.
func BenchmarkDecode(b *testing.B) {
	body := encode(b, mediaProtobuf, podList(10_000))
	answer := wire(func(*http.Request) (*http.Response, error) {
		response := answerOf(200, mediaProtobuf, bytes.NewReader(body))
		response.ContentLength = int64(len(body))
		return response, nil
	})
	krm, err := client.New("http://host", client.Options{HTTPClient: &http.Client{Transport: answer}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("client", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := krm.Pods("").List(b.Context(), client.ListOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	decoder := scheme.Codecs.UniversalDeserializer()
	b.Run("client-go", func(b *testing.B) {
		for b.Loop() {
			response, _ := answer(nil)
			copied, _ := io.ReadAll(response.Body)
			if _, _, err := decoder.Decode(copied, nil, &corev1.PodList{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
