package source

import (
	"bytes"
	"slices"
)

// documents are the answers that never change, by path.
func documents() map[string]string {
	const group = `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`
	return map[string]string{
		"/api":    `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}`,
		"/apis":   group,
		"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create","delete","get","list","patch","update","watch"],"shortNames":["po"],"categories":["all"]}]}`,
		"/version": `{"major":"1","minor":"36","gitVersion":"v1.36.3","gitCommit":"","gitTreeState":"","buildDate":"1970-01-01T00:00:00Z",` +
			`"goVersion":"go1.26.8","compiler":"gc","platform":"linux/amd64"}`,
		"/openapi/v3": `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=B6B6A956CCCED3FDC486FF34C55C9A4774383F78F86F81024EF5F1A590EA4FEC"}}}`,
		"/api/v1/namespaces/kube-system": `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"e6321563-ce79-41e9-9f84-472f36eb8a15",` +
			`"resourceVersion":"4","creationTimestamp":"2026-11-01T00:00:00Z"},"status":{"phase":"Active"}}`,
	}
}

// columnDefinitions are kube-apiserver's for pods, with shorter descriptions.
const columnDefinitions = `[{"name":"Name","type":"string","format":"name","description":"Name must be unique within a namespace.","priority":0},` +
	`{"name":"Ready","type":"string","format":"","description":"The aggregate readiness state of this pod for accepting traffic.","priority":0},` +
	`{"name":"Status","type":"string","format":"","description":"The aggregate status of the containers in this pod.","priority":0},` +
	`{"name":"Restarts","type":"string","format":"","description":"The number of times the containers in this pod have been restarted.","priority":0},` +
	`{"name":"Age","type":"string","format":"","description":"CreationTimestamp is the server time when this object was created.","priority":0},` +
	`{"name":"IP","type":"string","format":"","description":"podIP address allocated to the pod.","priority":1},` +
	`{"name":"Node","type":"string","format":"","description":"NodeName indicates in which node this pod is scheduled.","priority":1},` +
	`{"name":"Nominated Node","type":"string","format":"","description":"nominatedNodeName is set when this pod preempts others.","priority":1},` +
	`{"name":"Readiness Gates","type":"string","format":"","description":"Conditions that decide whether the pod is ready.","priority":1}]`

// withColumns puts the columns into a frame that has none.
func withColumns(frame []byte) []byte {
	return bytes.Replace(slices.Clone(frame), []byte(`"columnDefinitions":null`), []byte(`"columnDefinitions":`+columnDefinitions), 1)
}
