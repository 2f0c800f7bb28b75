package store

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// pods makes realistic pods of about 5 KB, as an API server sends them, of some
// dozens of deployments that differ in containers, environment and volumes.
type pods struct {
	rand    *rand.Rand
	version int
}

func newPods(seed uint64) *pods {
	return &pods{rand: rand.New(rand.NewPCG(seed, 1)), version: 1000}
}

func (p *pods) hex(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte("0123456789abcdef"[p.rand.IntN(16)])
	}
	return b.String()
}

func (p *pods) letters(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte("bcdfghjklmnpqrstvwxz2456789"[p.rand.IntN(27)])
	}
	return b.String()
}

func (p *pods) uid() string {
	return p.hex(8) + "-" + p.hex(4) + "-4" + p.hex(3) + "-a" + p.hex(3) + "-" + p.hex(12)
}

func (p *pods) time() string {
	return time.Unix(1790000000+p.rand.Int64N(5_000_000), 0).UTC().Format(time.RFC3339)
}

// app is what the pods of one deployment have in common.
type app struct {
	name, namespace, hash, owner, image, digest, spec string
	containers                                        int
}

func (p *pods) app(i int) app {
	words := strings.Fields("billing checkout search cart users mail image auth ledger report stream cache proxy quota export ingest")
	a := app{
		name:       words[i%len(words)] + "-" + []string{"api", "worker", "web", "cron"}[i/len(words)%4],
		namespace:  []string{"default", "shop", "payments", "platform-team", "kube-system"}[i%5],
		hash:       p.letters(10),
		owner:      p.uid(),
		digest:     p.hex(64),
		containers: 1 + i%2,
	}
	a.image = fmt.Sprintf("registry.example.com/%s/%s:v%d.%d.%d", a.namespace, a.name, i%3, i%17, i%29)
	var env []string
	for k := range 3 + i%9 {
		env = append(env, fmt.Sprintf(`{"name":"%s_%s_%d","value":"%s"}`, strings.ToUpper(words[(i+k)%len(words)]), []string{"URL", "TIMEOUT", "LEVEL"}[k%3], k, p.letters(6+k)))
	}
	a.spec = strings.Join(env, ",")
	return a
}

func (p *pods) apps(n int) []app {
	all := make([]app, n)
	for i := range all {
		all[i] = p.app(i)
	}
	return all
}

// records returns n pods of 40 deployments.
func (p *pods) records(n int) []object.Record {
	apps := p.apps(40)
	records := make([]object.Record, n)
	for i := range records {
		records[i] = p.record(apps[p.rand.IntN(len(apps))])
	}
	return records
}

func (p *pods) record(a app) object.Record {
	p.version += 1 + p.rand.IntN(20)
	name := a.name + "-" + a.hash + "-" + p.letters(5)
	uid := p.uid()
	version := strconv.Itoa(p.version)
	return object.Record{
		Head: object.Head{
			Key:     object.Key{Namespace: a.namespace, Name: name},
			UID:     uid,
			Version: object.Version(version),
			SeenAt:  time.Unix(1795000000, p.rand.Int64N(1e9)).UTC(),
		},
		Body:  []byte(p.body(a, name, uid, version)),
		Cells: fmt.Appendf(nil, `["%s","%d/%d","Running","%d","12d","10.%d.%d.%d","node-%d","<none>","<none>"]`, name, a.containers, a.containers, p.rand.IntN(3), p.rand.IntN(200), p.rand.IntN(250), p.rand.IntN(250), p.rand.IntN(400)),
	}
}

func (p *pods) body(a app, name, uid, version string) string {
	var b strings.Builder
	created, started, token := p.time(), p.time(), "kube-api-access-"+p.letters(5)
	node, ip := p.rand.IntN(400), fmt.Sprintf("10.%d.%d.%d", p.rand.IntN(200), p.rand.IntN(250), p.rand.IntN(250))
	fmt.Fprintf(&b, `{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"checksum/config":"%s","prometheus.io/port":"9090","prometheus.io/scrape":"true"},"creationTimestamp":"%s","generateName":"%s-%s-","generation":1,"labels":{"app.kubernetes.io/instance":"%s","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":"%s","pod-template-hash":"%s"},"name":"%s","namespace":"%s","ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"%s-%s","uid":"%s"}],"resourceVersion":"%s","uid":"%s"},`,
		a.digest, created, a.name, a.hash, a.name, a.name, a.hash, name, a.namespace, a.name, a.hash, a.owner, version, uid)
	b.WriteString(`"spec":{"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"labelSelector":{"matchLabels":{"app.kubernetes.io/name":"` + a.name + `"}},"topologyKey":"kubernetes.io/hostname"},"weight":100}]}},"containers":[`)
	for i := range a.containers {
		comma(&b, i)
		fmt.Fprintf(&b, `{"env":[%s,{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"image":"%s","imagePullPolicy":"IfNotPresent","livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/livez","port":"http","scheme":"HTTP"},"initialDelaySeconds":10,"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"name":"c%d","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],"readinessProbe":{"failureThreshold":3,"httpGet":{"path":"/readyz","port":"http","scheme":"HTTP"},"periodSeconds":5,"successThreshold":1,"timeoutSeconds":1},"resources":{"limits":{"cpu":"%dm","memory":"%dMi"},"requests":{"cpu":"100m","memory":"128Mi"}},"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","volumeMounts":[{"mountPath":"/etc/config","name":"config"},{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"%s","readOnly":true}]}`,
			a.spec, a.image, i, 200+100*a.containers, 256*a.containers, token)
	}
	fmt.Fprintf(&b, `],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"nodeName":"node-%d","preemptionPolicy":"PreemptLowerPriority","priority":0,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{"fsGroup":65532,"runAsNonRoot":true,"runAsUser":65532},"serviceAccount":"%s","serviceAccountName":"%s","terminationGracePeriodSeconds":30,"tolerations":[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}],"volumes":[{"configMap":{"defaultMode":420,"name":"%s"},"name":"config"},{"name":"%s","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},{"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]}}]},"status":{"conditions":[`,
		node, a.name, a.name, a.name, token)
	for i, condition := range []string{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		comma(&b, i)
		at := created
		if i == 2 || i == 3 {
			at = started
		}
		fmt.Fprintf(&b, `{"lastProbeTime":null,"lastTransitionTime":"%s","observedGeneration":1,"status":"True","type":"%s"}`, at, condition)
	}
	b.WriteString(`],"containerStatuses":[`)
	for i := range a.containers {
		comma(&b, i)
		fmt.Fprintf(&b, `{"containerID":"containerd://%s","image":"%s","imageID":"%s@sha256:%s","lastState":{},"name":"c%d","ready":true,"restartCount":%d,"started":true,"state":{"running":{"startedAt":"%s"}}}`,
			p.hex(64), a.image, a.image, a.digest, i, p.rand.IntN(4), started)
	}
	fmt.Fprintf(&b, `],"hostIP":"172.16.%d.%d","hostIPs":[{"ip":"172.16.%d.%d"}],"observedGeneration":1,"phase":"Running","podIP":"%s","podIPs":[{"ip":"%s"}],"qosClass":"Burstable","startTime":"%s"}}`,
		node/250, node%250, node/250, node%250, ip, ip, created)
	return b.String()
}

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// itemsOf makes a record item of each record.
func itemsOf(records []object.Record) []object.LogItem {
	items := make([]object.LogItem, len(records))
	for i, r := range records {
		items[i] = object.LogItem{Kind: object.ItemRecord, Record: r, At: r.SeenAt}
	}
	return items
}
