package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
	corev1 "k8s.io/api/core/v1"
)

// realPods makes pods of about 5 KB in kube-apiserver's field order, of some
// dozens of deployments; names, UIDs, addresses and times differ.
func realPods(tb testing.TB, count int) [][]byte {
	tb.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	hex := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte("0123456789abcdef"[random.IntN(16)])
		}
		return b.String()
	}
	digests := make([]string, 40)
	for i := range digests {
		digests[i] = hex(64)
	}
	bodies := make([][]byte, count)
	for i := range bodies {
		app := i / 3 % 40
		at := time.Unix(1_790_000_000+random.Int64N(5_000_000), 0).UTC()
		name := fmt.Sprintf("service-%d-%s", app, []string{"api", "worker", "web"}[app%3])
		node := random.IntN(400)
		address := fmt.Sprintf("10.%d.%d.%d", random.IntN(200), random.IntN(250), random.IntN(250))
		text := strings.NewReplacer("$NAME", name, "$POD", name+"-6f7b8c9d5b-"+hex(5), "$UID", hex(8)+"-"+hex(4)+"-4"+hex(3)+"-a"+hex(3)+"-"+hex(12),
			"$AT", at.Format(time.RFC3339), "$START", at.Add(time.Duration(random.IntN(60))*time.Second).Format(time.RFC3339), "$DIGEST", digests[app], "$IP", address, "$NODE", fmt.Sprint("node-", node), "$HOST", fmt.Sprintf("%d.%d", node/250, node%250), "$VERSION", fmt.Sprint(1_000_000+i*7), "$ID", hex(64),
			"$TOKEN", hex(5), "$APP", fmt.Sprint(app)).Replace(podTemplate)
		var pod corev1.Pod // for the field order of the Go type
		if err := json.Unmarshal([]byte(text), &pod); err != nil {
			tb.Fatal(err)
		}
		bodies[i] = bytes.TrimSpace(encodeJSON(tb, &pod))
	}
	return bodies
}

const podTemplate = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"$POD","generateName":"$NAME-6f7b8c9d5b-","namespace":"shop","uid":"$UID","resourceVersion":"$VERSION","generation":1,"creationTimestamp":"$AT",
"labels":{"app.kubernetes.io/instance":"$NAME","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":"$NAME","pod-template-hash":"6f7b8c9d5b"},
"annotations":{"checksum/config":"a3f0$APP7b2c9e","prometheus.io/port":"9090","prometheus.io/scrape":"true"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"$NAME-6f7b8c9d5b","uid":"1e2d3c4b-aaaa-4bbb-8ccc-00$APPdd","controller":true,"blockOwnerDeletion":true}]},
"spec":{"volumes":[{"name":"config","configMap":{"name":"$NAME","defaultMode":420}},{"name":"kube-api-access-$TOKEN","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],
"containers":[` + containerTemplate + `],
"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"$NAME","serviceAccount":"$NAME","nodeName":"$NODE","securityContext":{"runAsUser":65532,"runAsNonRoot":true,"fsGroup":65532},
"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"podAffinityTerm":{"labelSelector":{"matchLabels":{"app.kubernetes.io/name":"$NAME"}},"topologyKey":"kubernetes.io/hostname"}}]}},"schedulerName":"default-scheduler",
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},
"status":{"observedGeneration":1,"phase":"Running","conditions":[{"type":"PodReadyToStartContainers","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"$AT"},{"type":"Initialized","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"$AT"},{"type":"Ready","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"$START"},{"type":"ContainersReady","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"$AT"},{"type":"PodScheduled","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"$AT"}],
"hostIP":"172.16.$HOST","hostIPs":[{"ip":"172.16.$HOST"}],"podIP":"$IP","podIPs":[{"ip":"$IP"}],"startTime":"$AT","containerStatuses":[{"name":"main","state":{"running":{"startedAt":"$START"}},"lastState":{},"ready":true,"restartCount":0,"image":"registry.example.com/shop/$NAME:v1.$APP.2","imageID":"registry.example.com/shop/$NAME@sha256:$DIGEST","containerID":"containerd://$ID","started":true}],"qosClass":"Burstable"}}`

const containerTemplate = `{"name":"main","image":"registry.example.com/shop/$NAME:v1.$APP.2","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"},{"name":"metrics","containerPort":9090,"protocol":"TCP"}],
"env":[{"name":"DATABASE_URL","value":"postgres://$NAME-db.shop.svc:5432/$NAME"},{"name":"LOG_LEVEL","value":"info"},{"name":"CACHE_$APP_TTL","value":"$APPm"},{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"POD_IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],
"resources":{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"config","mountPath":"/etc/config"},{"name":"kube-api-access-$TOKEN","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
"livenessProbe":{"httpGet":{"path":"/livez","port":"http","scheme":"HTTP"},"initialDelaySeconds":10,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
"readinessProbe":{"httpGet":{"path":"/readyz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}`

func BenchmarkProtobuf(b *testing.B) {
	c, pod := NewCodec(podResource), realPods(b, 1)[0]
	b.SetBytes(int64(len(pod)))
	b.ReportAllocs()
	for b.Loop() {
		message, err := c.Protobuf(pod)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(message)), "message-bytes")
	}
}

func BenchmarkMetadataProtobuf(b *testing.B) {
	c, pod := NewMetadataCodec(), realPods(b, 1)[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Protobuf(pod); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPatchVersion(b *testing.B) {
	pod := realPods(b, 1)[0]
	b.SetBytes(int64(len(pod)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := PatchVersion(pod, "1234567"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendFrameProtobuf(b *testing.B) {
	c := NewCodec(podResource)
	message, err := c.Protobuf(realPods(b, 1)[0])
	if err != nil {
		b.Fatal(err)
	}
	enveloped, dst := c.AppendObject(nil, message), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrameProtobuf(dst[:0], "MODIFIED", enveloped)
	}
}

// BenchmarkCompress is one chunk of 64 or 100 pods; ratio is text to data.
func BenchmarkCompress(b *testing.B) {
	for _, count := range []int{16, 64, 100} {
		text := bytes.Join(realPods(b, count), []byte(","))
		b.Run(fmt.Sprintf("pods=%d", count), func(b *testing.B) {
			c := NewCompressor()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				chunk := c.Compress(text)
				b.ReportMetric(float64(len(text))/float64(len(chunk.Data)), "ratio")
			}
		})
	}
}

// BenchmarkCompressLevels is what compressionLevel was chosen by.
func BenchmarkCompressLevels(b *testing.B) {
	text := bytes.Join(realPods(b, 80), []byte(","))
	for level := 1; level <= 9; level++ {
		b.Run(fmt.Sprint("level=", level), func(b *testing.B) {
			out := &bytes.Buffer{}
			w, err := flate.NewWriter(out, level)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				out.Reset()
				w.Reset(out)
				if _, err := w.Write(text); err != nil {
					b.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(text))/float64(out.Len()), "ratio")
		})
	}
}

// BenchmarkGzip assembles the answer of 150,000 pods from chunks of 64.
func BenchmarkGzip(b *testing.B) {
	chunk := NewCompressor().Compress(bytes.Join(realPods(b, 64), []byte(",")))
	for b.Loop() {
		var g Gzip
		for range 150_000 / 64 {
			g.Chunk(chunk)
			g.Literal([]byte(","))
		}
		b.ReportMetric(float64(g.Finish().Length), "bytes")
	}
}
