package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
)

const (
	perNamespace = 100
	perNode      = 200
	writers      = 16
	renewEvery   = 10 * time.Second

	// canaryLabel is on one pod of each namespace.
	canaryLabel = "bench.krm.test/canary"
	readerName  = "bench-reader"
	ownerName   = "workload-7d4b9c6f5" // of the pods
)

// furnisher fills the cluster. The pods are bound to nodes that nobody simulates,
// so that nothing changes them but the kubelet that this program plays.
type furnisher struct {
	admin  kubernetes.Interface
	set    *frames.Set
	count  int
	owners []types.UID // by namespace
}

func namespaceOf(number int) string { return fmt.Sprintf("team-%03d", number) }

func nodeOf(number int) string { return fmt.Sprintf("node-%d", number) }

// shares is how many groups of at most size make count.
func shares(count, size int) int { return (count + size - 1) / size }

// furnish creates count pods in namespaces of perNamespace, on nodes that are there.
func furnish(ctx context.Context, admin kubernetes.Interface, count int, seed uint64) error {
	f := &furnisher{admin: admin, set: frames.New(count, false, seed), count: count, owners: make([]types.UID, shares(count, perNamespace))}
	if err := each(ctx, len(f.owners), f.namespace); err != nil {
		return err
	}
	return each(ctx, count, f.pod)
}

// furnishNodes creates the nodes for count pods.
func furnishNodes(ctx context.Context, admin kubernetes.Interface, count int) error {
	return each(ctx, shares(count, perNode), func(ctx context.Context, number int) error { return makeNode(ctx, admin, number) })
}

// each calls one(0) to one(count-1), some at a time.
func each(ctx context.Context, count int, one func(ctx context.Context, number int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for number := range count {
		group.Go(func() error { return one(ctx, number) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("furnish the cluster: %w", err)
	}
	return nil
}

func makeNode(ctx context.Context, admin kubernetes.Interface, number int) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("256"), corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods: *resource.NewQuantity(2*perNode, resource.DecimalSI),
	}
	now := metav1.Now()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeOf(number), Labels: map[string]string{corev1.LabelHostname: nodeOf(number)}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		},
	}
	if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create %s: %w", node.Name, err)
	}
	return renewLease(ctx, admin, node.Name)
}

// renewLease says that a node is alive.
func renewLease(ctx context.Context, admin kubernetes.Interface, node string) error {
	leases := admin.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	seconds := int32(40)
	spec := coordinationv1.LeaseSpec{HolderIdentity: &node, LeaseDurationSeconds: &seconds, RenewTime: &now}
	text, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	_, err = leases.Patch(ctx, node, types.MergePatchType, text, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: spec}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the lease of %s: %w", node, err)
	}
	return nil
}

// keepNodes renews the nodes' leases until ctx ends, as kubelets do. Without that
// the controllers would mark the nodes' pods and evict them.
func keepNodes(ctx context.Context, admin kubernetes.Interface, pods int, say func(string, ...any)) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := each(ctx, shares(pods, perNode), func(ctx context.Context, number int) error { return renewLease(ctx, admin, nodeOf(number)) })
		if err != nil && ctx.Err() == nil {
			say("%v", err)
		}
	}
}

// namespace makes a namespace with what the API server asks of pods in it, and with
// an object that owns them and that no controller works on.
func (f *furnisher) namespace(ctx context.Context, number int) error {
	name := namespaceOf(number)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": name}}}
	if _, err := f.admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := f.admin.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the service account of %s: %w", name, err)
	}
	owner := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: ownerName}, Revision: 1, Data: runtime.RawExtension{Raw: []byte(`{}`)}}
	owner, err := f.admin.AppsV1().ControllerRevisions(name).Create(ctx, owner, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the owner of the pods of %s: %w", name, err)
	}
	f.owners[number] = owner.UID
	return nil
}

// pod creates one pod and reports its status, as its controller and its kubelet do.
func (f *furnisher) pod(ctx context.Context, number int) error {
	pod, err := f.draft(number)
	if err != nil {
		return err
	}
	status := pod.Status
	pods := f.admin.CoreV1().Pods(pod.Namespace)
	pod, err = pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: "kube-controller-manager"})
	if err != nil {
		return fmt.Errorf("create pod %d: %w", number, err)
	}
	pod.Status = status
	if _, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{FieldManager: "kubelet"}); err != nil {
		return fmt.Errorf("report the status of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// draft is pod number, with its status, in the place where it belongs here.
func (f *furnisher) draft(number int) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(f.set.Pod(frames.Event{Slot: uint32(number)}), &pod); err != nil {
		return nil, fmt.Errorf("decode pod %d: %w", number, err)
	}
	place := number % len(f.owners)
	pod.Namespace = namespaceOf(place)
	pod.UID, pod.ResourceVersion, pod.Generation, pod.CreationTimestamp = "", "", 0, metav1.Time{}
	if number < len(f.owners) {
		pod.Labels[canaryLabel] = "true"
	}
	owner := &pod.OwnerReferences[0]
	owner.Kind, owner.Name, owner.UID = "ControllerRevision", ownerName, f.owners[place]
	for i := range pod.Spec.Containers { // the API server wants the request below the limit
		r := &pod.Spec.Containers[i].Resources
		if limit := r.Limits[corev1.ResourceMemory]; limit.Cmp(r.Requests[corev1.ResourceMemory]) < 0 {
			r.Requests[corev1.ResourceMemory] = limit
		}
	}
	pod.Spec.NodeName = nodeOf(number % shares(f.count, perNode))
	pod.Status.HostIP = "127.0.0.1"
	pod.Status.HostIPs = []corev1.HostIP{{IP: pod.Status.HostIP}}
	return &pod, nil
}

// newToken makes a service account that RBAC allows to read what is measured, and
// returns a token of it.
func newToken(ctx context.Context, admin kubernetes.Interface) (string, error) {
	const namespace = metav1.NamespaceDefault
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: readerName}}
	if _, err := admin.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("create the reader's service account: %w", err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: readerName}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "namespaces", "nodes"}, Verbs: []string{"get", "list", "watch"}},
		{NonResourceURLs: []string{"/metrics", "/krm/*"}, Verbs: []string{"get"}},
	}}
	if _, err := admin.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("create the reader's role: %w", err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: readerName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: readerName}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: readerName},
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("bind the reader's role: %w", err)
	}
	hours := int64(3 * 3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}
	got, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, readerName, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask for the reader's token: %w", err)
	}
	return got.Status.Token, nil
}
