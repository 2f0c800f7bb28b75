package main

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	leaseHolder = "compat"
	leaseEvery  = 10 * time.Second
	leaseSpace  = "kube-node-lease"
)

// keepNodes renews the leases of simulated nodes that nobody else renews, until ctx
// ends: without one a node is NotReady after a minute, and its pods with it.
func keepNodes(ctx context.Context, config *rest.Config, say func(string, ...any)) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		if err := renewLeases(ctx, client); err != nil && ctx.Err() == nil {
			say("renew the nodes' leases: %v", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func renewLeases(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	for _, node := range nodes.Items {
		if node.Annotations["kwok.x-k8s.io/node"] == "" {
			continue
		}
		if err := renewLease(ctx, client, node.Name); err != nil {
			return err
		}
	}
	return nil
}

func renewLease(ctx context.Context, client kubernetes.Interface, node string) error {
	leases := client.CoordinationV1().Leases(leaseSpace)
	holder, seconds, now := leaseHolder, int32(40), metav1.NowMicro()
	lease, err := leases.Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: node},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != leaseHolder {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}
