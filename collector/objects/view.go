package objects

import (
	"iter"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// View is what is known of a cluster's objects at one moment. It is only for as
// long as the function that it was given to runs; the objects themselves may be kept.
// The zero View is an empty cluster.
type View struct {
	pods       map[podKey]*Pod
	onNode     map[string][]*Pod // in no order
	nodes      map[string]*Node
	namespaces map[string]*Namespace
	sorted     []*Node
}

type podKey struct{ namespace, name string }

// NewView returns a view of these objects, for tests and tools.
func NewView(pods []*Pod, nodes []*Node, namespaces []*Namespace) *View {
	v := newView()
	for _, p := range pods {
		v.setPod(p)
	}
	for _, n := range nodes {
		v.setNode(n)
	}
	for _, n := range namespaces {
		v.namespaces[n.Name] = n
	}
	return v
}

func newView() *View {
	return &View{
		pods: map[podKey]*Pod{}, onNode: map[string][]*Pod{},
		nodes: map[string]*Node{}, namespaces: map[string]*Namespace{},
	}
}

// Nodes returns all nodes by name. The slice is the view's.
func (v *View) Nodes() []*Node { return v.sorted }

// Node returns the node of that name, nil if there is none.
func (v *View) Node(name string) *Node { return v.nodes[name] }

// Namespace returns the namespace of that name, nil if there is none.
func (v *View) Namespace(name string) *Namespace { return v.namespaces[name] }

// Pod returns the pod of that name, nil if there is none.
func (v *View) Pod(namespace, name string) *Pod { return v.pods[podKey{namespace, name}] }

// PodsOn returns the pods that are bound to a node, finished ones too, in no order.
// The slice is the view's.
func (v *View) PodsOn(node string) []*Pod { return v.onNode[node] }

// Pods yields all pods in no order.
func (v *View) Pods() iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, p := range v.pods {
			if !yield(p) {
				return
			}
		}
	}
}

// Counts returns how many pods, nodes and namespaces there are.
func (v *View) Counts() (pods, nodes, namespaces int) {
	return len(v.pods), len(v.nodes), len(v.namespaces)
}

// setPod puts p in, in place of what had its name. Labels that did not change stay
// the same memory.
func (v *View) setPod(p *Pod) {
	key := podKey{p.Namespace, p.Name}
	if old := v.pods[key]; old != nil {
		if slices.Equal(old.Labels, p.Labels) {
			p.Labels = old.Labels
		}
		v.leave(old)
	}
	v.pods[key] = p
	if p.Node != "" {
		v.onNode[p.Node] = append(v.onNode[p.Node], p)
	}
}

func (v *View) deletePod(namespace, name string) {
	key := podKey{namespace, name}
	if old := v.pods[key]; old != nil {
		v.leave(old)
		delete(v.pods, key)
	}
}

// leave takes p from its node's list. Views were given that list for as long as a
// read lock is held, and we hold the other: it may be changed in place.
func (v *View) leave(p *Pod) {
	list := v.onNode[p.Node]
	if i := slices.Index(list, p); i >= 0 {
		list[i] = list[len(list)-1]
		list[len(list)-1] = nil
		v.onNode[p.Node] = list[:len(list)-1]
	}
	if len(v.onNode[p.Node]) == 0 {
		delete(v.onNode, p.Node)
	}
}

func (v *View) setNode(n *Node) {
	i, found := v.place(n.Name)
	if found {
		v.sorted[i] = n
	} else {
		v.sorted = slices.Insert(v.sorted, i, n)
	}
	v.nodes[n.Name] = n
}

func (v *View) deleteNode(name string) {
	if i, found := v.place(name); found {
		v.sorted = slices.Delete(v.sorted, i, i+1)
		delete(v.nodes, name)
	}
}

func (v *View) place(name string) (int, bool) {
	return slices.BinarySearchFunc(v.sorted, name, func(n *Node, name string) int { return strings.Compare(n.Name, name) })
}

// Of returns a view of what an API server lists, for tests and tools.
func Of(pods []corev1.Pod, nodes []corev1.Node, namespaces []corev1.Namespace) *View {
	v := newView()
	for i := range pods {
		v.setPod(fromPod(&pods[i]))
	}
	for i := range nodes {
		v.setNode(fromNode(&nodes[i]))
	}
	for i := range namespaces {
		v.namespaces[namespaces[i].Name] = fromNamespace(&namespaces[i])
	}
	return v
}
