package client

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Pods reads the pods of namespace; "" lists those of all.
func (c *Client) Pods(namespace string) Resource[corev1.Pod, corev1.PodList] {
	kind := Kind{Version: "v1", Resource: "pods", Kind: "Pod", Namespaced: true}
	return Of[corev1.Pod, corev1.PodList](c, kind).In(namespace)
}

// Deployments reads the deployments of namespace; "" lists those of all.
func (c *Client) Deployments(namespace string) Resource[appsv1.Deployment, appsv1.DeploymentList] {
	kind := Kind{Group: "apps", Version: "v1", Resource: "deployments", Kind: "Deployment", Namespaced: true}
	return Of[appsv1.Deployment, appsv1.DeploymentList](c, kind).In(namespace)
}

// PersistentVolumeClaims reads the claims of namespace; "" lists those of all.
func (c *Client) PersistentVolumeClaims(namespace string) Resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList] {
	kind := Kind{Version: "v1", Resource: "persistentvolumeclaims", Kind: "PersistentVolumeClaim", Namespaced: true}
	return Of[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList](c, kind).In(namespace)
}

// Services reads the services of namespace; "" lists those of all.
func (c *Client) Services(namespace string) Resource[corev1.Service, corev1.ServiceList] {
	kind := Kind{Version: "v1", Resource: "services", Kind: "Service", Namespaced: true}
	return Of[corev1.Service, corev1.ServiceList](c, kind).In(namespace)
}

// Ingresses reads the ingresses of namespace; "" lists those of all.
func (c *Client) Ingresses(namespace string) Resource[networkingv1.Ingress, networkingv1.IngressList] {
	kind := Kind{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses", Kind: "Ingress", Namespaced: true}
	return Of[networkingv1.Ingress, networkingv1.IngressList](c, kind).In(namespace)
}

// Nodes reads the cluster's nodes.
func (c *Client) Nodes() Resource[corev1.Node, corev1.NodeList] {
	kind := Kind{Version: "v1", Resource: "nodes", Kind: "Node"}
	return Of[corev1.Node, corev1.NodeList](c, kind)
}

// Namespaces reads the cluster's namespaces.
func (c *Client) Namespaces() Resource[corev1.Namespace, corev1.NamespaceList] {
	kind := Kind{Version: "v1", Resource: "namespaces", Kind: "Namespace"}
	return Of[corev1.Namespace, corev1.NamespaceList](c, kind)
}
