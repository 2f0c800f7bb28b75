package model

import (
	"net/http"
	"time"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
)

// nodesAnswer says how the collection of each node of a cluster went.
type nodesAnswer struct {
	Cluster    string       `json:"cluster"`
	At         *time.Time   `json:"at,omitempty"` // the newest batch's; absent if there is none
	Resolution string       `json:"resolution,omitempty"`
	Complete   bool         `json:"complete"` // the newest sums lack nothing
	Message    string       `json:"message,omitempty"`
	Nodes      []nodeAnswer `json:"nodes"`
	Batches    []batchInfo  `json:"batches"`
}

type nodeAnswer struct {
	Name       string     `json:"name"`
	Success    bool       `json:"success"`
	Reason     string     `json:"reason,omitempty"`  // in a word
	Message    string     `json:"message,omitempty"` // for people, with what to do
	Seconds    float64    `json:"seconds"`           // from the request to the last byte
	LastAt     *time.Time `json:"lastAt,omitempty"`  // when it last answered; absent if never
	AgeSeconds *float64   `json:"ageSeconds,omitempty"`
}

type batchInfo struct {
	At     time.Time `json:"at"`
	Nodes  int       `json:"nodes"`
	Failed int       `json:"failed"`
}

// nodes answers how the collection of each node went; cluster=NAME asks for those of
// another cluster.
func (a *API) nodes(q request) error {
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if name := q.Query("cluster"); name != "" {
		q.cluster, q.local = name, name == DefaultCluster
	}
	if err := a.authorize(q, kubeapi.Access{Verb: "list", Resource: nodesResource("v1beta1")}); err != nil {
		return err
	}
	v, err := a.view(q)
	if err != nil {
		return err
	}
	answer := nodesAnswer{Cluster: q.cluster, Nodes: []nodeAnswer{}, Batches: []batchInfo{}}
	if doubt := a.source.Doubt(q.cluster); doubt != nil {
		answer.Message = doubt.Error()
	}
	if v == nil {
		a.send(q, compactValue(answer))
		return nil
	}
	at, now := v.Time().UTC(), time.Now()
	answer.At, answer.Resolution, answer.Complete = &at, v.Resolution().String(), v.Complete()
	for _, n := range v.Nodes() {
		one := nodeAnswer{Name: n.Name, Success: n.Reason == "", Reason: n.Reason, Message: n.Error, Seconds: n.Took.Seconds()}
		if !n.LastAt.IsZero() {
			last, age := n.LastAt.UTC(), max(0, now.Sub(n.LastAt).Seconds())
			one.LastAt, one.AgeSeconds = &last, &age
		}
		answer.Nodes = append(answer.Nodes, one)
	}
	for _, b := range v.Batches() {
		answer.Batches = append(answer.Batches, batchInfo{b.Time.UTC(), b.Nodes, b.Failed})
	}
	a.send(q, compactValue(answer))
	return nil
}

// clusters answers with the clusters of which there are metrics.
func (a *API) clusters(q request) error {
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if err := a.authorize(q, kubeapi.Access{Path: q.path}); err != nil {
		return err
	}
	names := a.source.Clusters()
	if err := a.source.Loading(); len(names) == 0 && err != nil {
		return kubeapi.Unavailable("metrics cannot be served yet: %v", err)
	}
	a.send(q, pretty(names))
	return nil
}

// noCluster answers for a cluster of which there is nothing.
func (a *API) noCluster(q request) error {
	if err := a.authorize(q, kubeapi.Access{Path: q.path}); err != nil {
		return err
	}
	if err := a.source.Loading(); err != nil {
		return kubeapi.Unavailable("metrics cannot be served yet: %v", err)
	}
	return &textError{http.StatusNotFound, "404: No metrics of cluster " + q.cluster}
}
