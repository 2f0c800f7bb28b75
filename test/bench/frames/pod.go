package frames

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The places of a frame that change from event to event, each of fixed width.
// They are written as runs of a byte that occurs nowhere else in a frame.
const (
	markVersion = 0x01 // metadata.resourceVersion
	markStep    = 0x02 // how often the pod was changed
	markSuffix  = 0x03 // the random end of the pod's name
	markUID     = 0x04 // the end of metadata.uid
	markTime    = 0x05 // when the last change was

	versionWidth = 10
	stepWidth    = 10
	suffixWidth  = 5
	uidWidth     = 12
	timeWidth    = len("2026-01-02T15:04:05Z")
)

func mark(kind byte, width int) string { return strings.Repeat(string(rune(kind)), width) }

// writer writes one pod, in the order in which an API server does.
type writer struct {
	strings.Builder
	random *rand.Rand
}

func (w *writer) f(format string, args ...any) { fmt.Fprintf(&w.Builder, format, args...) }

func pick[T any](w *writer, from []T) T { return from[w.random.IntN(len(from))] }

func (w *writer) hex(n int) string {
	var text strings.Builder
	for range n {
		text.WriteByte("0123456789abcdef"[w.random.IntN(16)])
	}
	return text.String()
}

func (w *writer) uid() string {
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", w.hex(8), w.hex(4), w.hex(3), w.hex(3), w.hex(12))
}

// plan is what the parts of one pod have in common.
type plan struct {
	namespace, app, hash, node, ip string
	version                        string
	replicaSetUID                  string
	created                        string
	images                         []string
	env                            [][2]string
	sidecar                        bool
}

func (p *plan) name() string { return p.app + "-" + p.hash + "-" + mark(markSuffix, suffixWidth) }

// newPlan draws up pod number of a cluster of 500 nodes and 200 applications in 24
// namespaces.
func newPlan(w *writer, number int) *plan {
	teams := []string{"shop", "payments", "search", "media", "platform", "analytics", "identity", "logistics"}
	roles := []string{"web", "api", "worker", "gateway", "scheduler", "cache", "indexer", "notifier", "catalog", "auth"}
	stages := []string{"prod", "canary", "eu-west"}
	app := number % 200
	team := teams[app%len(teams)]
	p := &plan{
		namespace: team + "-" + stages[app/len(teams)%len(stages)],
		app:       fmt.Sprintf("%s-%s-%d", team, roles[app%len(roles)], app),
		hash:      fmt.Sprintf("%010x", 0x9e3779b97f*uint64(app+1))[:10],
		node:      fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", w.random.IntN(4), w.random.IntN(256), w.random.IntN(256)),
		ip:        fmt.Sprintf("10.%d.%d.%d", 64+number>>16&63, number>>8&255, number&255),
		version:   fmt.Sprintf("%d.%d.%d", 1+app%4, app%23, w.random.IntN(9)),
		created:   fmt.Sprintf("2026-11-%02dT%02d:%02d:%02dZ", 1+w.random.IntN(20), w.random.IntN(24), w.random.IntN(60), w.random.IntN(60)),
		sidecar:   app%3 != 0,
	}
	p.replicaSetUID = w.uid()
	p.images = []string{fmt.Sprintf("registry.example.com/%s/%s:%s", team, roles[app%len(roles)], p.version)}
	if p.sidecar {
		p.images = append(p.images, "registry.example.com/mesh/proxy:1.27.3")
	}
	for i := range 3 + w.random.IntN(6) {
		name := pick(w, []string{"DATABASE_URL", "CACHE_HOST", "FEATURE_FLAGS", "REGION", "QUEUE", "TIMEOUT_MS", "TENANT", "SENTRY_DSN"})
		p.env = append(p.env, [2]string{fmt.Sprintf("%s_%d", name, i), w.hex(8 + w.random.IntN(40))})
	}
	return p
}

// frame writes everything of a watch frame behind its type.
func (w *writer) frame(p *plan, managedFields bool) {
	containers := len(p.images)
	w.f(`,"object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%s"},"columnDefinitions":null,"rows":[{"cells":[`, mark(markVersion, versionWidth))
	w.f(`"%s","%d/%d","Running","0","3d4h","%s","%s","\u003cnone\u003e","\u003cnone\u003e"],"object":`, p.name(), containers, containers, p.ip, p.node)
	w.f(`{"kind":"Pod","apiVersion":"v1",`)
	w.metadata(p, managedFields)
	w.spec(p)
	w.status(p)
	w.WriteString("}}]}}\n")
}

func (w *writer) metadata(p *plan, managedFields bool) {
	w.f(`"metadata":{"name":"%s","generateName":"%s-%s-","namespace":%q,"uid":"%s-%s","resourceVersion":"%s","generation":1,"creationTimestamp":%q,`,
		p.name(), p.app, p.hash, p.namespace, w.uid()[:23], mark(markUID, uidWidth), mark(markVersion, versionWidth), p.created)
	w.f(`"labels":{"app":%q,"app.kubernetes.io/component":%q,"app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":%q,"app.kubernetes.io/version":%q,`,
		p.app, pick(w, []string{"frontend", "backend", "store"}), p.app, p.version)
	w.f(`"pod-template-hash":%q,"team":%q,"topology.kubernetes.io/region":"eu-central-1","topology.kubernetes.io/zone":"eu-central-1%s"},`,
		p.hash, p.namespace, pick(w, []string{"a", "b", "c"}))
	w.f(`"annotations":{"bench.krm.test/step":"%s","checksum/config":%q,"prometheus.io/port":"9090","prometheus.io/scrape":"true"},`,
		mark(markStep, stepWidth), w.hex(64))
	w.f(`"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"%s-%s","uid":%q,"controller":true,"blockOwnerDeletion":true}]`, p.app, p.hash, p.replicaSetUID)
	if managedFields {
		w.WriteString(`,"managedFields":[`)
		w.managedFields(p)
		w.WriteString(`]`)
	}
	w.WriteString(`},`)
}

// managedFields are what the controllers and the kubelet leave there: KRM cuts them.
func (w *writer) managedFields(p *plan) {
	w.f(`{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":%q,"fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{},"f:prometheus.io/port":{},"f:prometheus.io/scrape":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/component":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/version":{},"f:pod-template-hash":{},"f:team":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"%s\"}":{}}},"f:spec":{"f:containers":{`, p.created, p.replicaSetUID)
	for i := range p.images {
		if i > 0 {
			w.WriteByte(',')
		}
		w.f(`"k:{\"name\":\"c%d\"}":{".":{},"f:env":{".":{}`, i)
		if i == 0 {
			for _, env := range p.env {
				w.f(`,"k:{\"name\":\"%s\"}":{".":{},"f:name":{},"f:value":{}}`, env[0])
			}
		}
		w.WriteString(`},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},"f:successThreshold":{},"f:timeoutSeconds":{}},"f:name":{},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}`)
	}
	w.f(`},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}},`)
	w.f(`{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"%s","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"%s\"}":{".":{},"f:ip":{}}},"f:startTime":{}}},"subresource":"status"}`, mark(markTime, timeWidth), p.ip)
}

func (w *writer) spec(p *plan) {
	token := w.hex(5)
	w.f(`"spec":{"volumes":[{"name":"tmp","emptyDir":{}},{"name":"kube-api-access-%s","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"containers":[`, token)
	for i, image := range p.images {
		if i > 0 {
			w.WriteByte(',')
		}
		w.container(p, i, image, token)
	}
	w.f(`],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","nodeName":%q,"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},`, p.node)
}

func (w *writer) container(p *plan, number int, image, token string) {
	w.f(`{"name":"c%d","image":%q,"ports":[{"name":"http","containerPort":%d,"protocol":"TCP"}],"env":[`, number, image, 8080+number)
	w.f(`{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}`)
	if number == 0 {
		for _, env := range p.env {
			w.f(`,{"name":%q,"value":%q}`, env[0], env[1])
		}
	}
	w.f(`],"resources":{"limits":{"memory":"%dMi"},"requests":{"cpu":"%dm","memory":"%dMi"}},`, 128<<w.random.IntN(4), 50*(1+w.random.IntN(20)), 64<<w.random.IntN(4))
	w.f(`"volumeMounts":[{"name":"tmp","mountPath":"/tmp"},{"name":"kube-api-access-%s","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],`, token)
	w.WriteString(`"livenessProbe":{"httpGet":{"path":"/live","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"`)
	w.WriteString(`,"securityContext":{"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}`)
}

func (w *writer) status(p *plan) {
	w.WriteString(`"status":{"phase":"Running","conditions":[`)
	for i, condition := range []string{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		if i > 0 {
			w.WriteByte(',')
		}
		at := p.created
		if condition == "Ready" {
			at = mark(markTime, timeWidth)
		}
		w.f(`{"type":%q,"status":"True","lastProbeTime":null,"lastTransitionTime":"%s"}`, condition, at)
	}
	w.f(`],"hostIP":"10.0.%d.%d","hostIPs":[{"ip":"10.0.%d.%d"}],"podIP":%q,"podIPs":[{"ip":%q}],"startTime":%q,"containerStatuses":[`,
		w.random.IntN(256), w.random.IntN(256), w.random.IntN(256), w.random.IntN(256), p.ip, p.ip, p.created)
	for i, image := range p.images {
		if i > 0 {
			w.WriteByte(',')
		}
		w.f(`{"name":"c%d","state":{"running":{"startedAt":%q}},"lastState":{},"ready":true,"restartCount":0,"image":%q,"imageID":"%s@sha256:%s","containerID":"containerd://%s","started":true}`,
			i, p.created, image, strings.SplitN(image, ":", 2)[0], w.hex(64), w.hex(64))
	}
	w.WriteString(`],"qosClass":"Burstable"}`)
}
