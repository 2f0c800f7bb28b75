package main

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const storageClass = "standard"

// newNode is the i-th node, big enough for its share of the pods.
func newNode(i int, cfg SeedConfig) *corev1.Node {
	name := fmt.Sprintf("node-%d", i)
	perNode := 1 + cfg.Pods/max(1, cfg.Nodes)
	room := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(max(16, perNode/2)), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(max(64, perNode))<<30, resource.BinarySI),
		corev1.ResourceEphemeralStorage: resource.MustParse("512Gi"),
		corev1.ResourcePods:             *resource.NewQuantity(int64(max(110, 2*perNode)), resource.DecimalSI),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:           name,
				corev1.LabelArchStable:         "amd64",
				corev1.LabelOSStable:           "linux",
				corev1.LabelInstanceTypeStable: "simulated",
				corev1.LabelTopologyRegion:     "local",
				corev1.LabelTopologyZone:       "local-" + string(rune('a'+i%3)),
			},
			Annotations: map[string]string{
				"kwok.x-k8s.io/node":           "fake",
				"node.alpha.kubernetes.io/ttl": "0",
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
				{Type: corev1.NodeHostName, Address: name},
			},
		},
	}
	if cfg.KubeletPort != 0 {
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(cfg.KubeletPort + i)
	}
	return node
}

func newNamespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   name,
		Labels: map[string]string{"team": name},
	}}
}

func newStorageClass() *storagev1.StorageClass {
	now := storagev1.VolumeBindingImmediate
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        storageClass,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:       "kubernetes.io/no-provisioner",
		VolumeBindingMode: &now,
	}
}

func (a app) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: a.namespace, Name: a.name, Labels: a.labels()}
}

func (a app) labels() map[string]string {
	labels := a.selector()
	labels["app.kubernetes.io/component"] = a.component
	labels["app.kubernetes.io/part-of"] = a.namespace
	labels["app.kubernetes.io/version"] = fmt.Sprintf("1.%d.0", a.number%7)
	labels["app.kubernetes.io/managed-by"] = "krm-test-cluster"
	labels["team"] = a.namespace
	return labels
}

func (a app) selector() map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":     a.name,
		"app.kubernetes.io/instance": a.namespace + "-" + a.name,
	}
}

func (a app) dataName() string { return a.name + "-data" }

func newDeployment(a app) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: a.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(a.replicas)),
			Selector: &metav1.LabelSelector{MatchLabels: a.selector()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: a.labels(),
					Annotations: map[string]string{
						"prometheus.io/scrape": "true",
						"prometheus.io/port":   "9090",
					},
				},
				Spec: newPodSpec(a),
			},
		},
	}
}

func newPodSpec(a app) corev1.PodSpec {
	main := corev1.Container{
		Name:  a.name,
		Image: fmt.Sprintf("images.invalid/%s/%s:1.%d.0", a.namespace, a.name, a.number%7), // nothing pulls it
		Ports: []corev1.ContainerPort{
			{Name: "http", ContainerPort: 8080},
			{Name: "metrics", ContainerPort: 9090},
		},
		Env: []corev1.EnvVar{
			{Name: "LOG_LEVEL", Value: "info"},
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			{Name: "NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(50+50*(a.number%4)), resource.DecimalSI),
				corev1.ResourceMemory: *resource.NewQuantity(int64(64<<(a.number%3))<<20, resource.BinarySI),
			},
			Limits: corev1.ResourceList{
				corev1.ResourceMemory: *resource.NewQuantity(int64(128<<(a.number%3))<<20, resource.BinarySI),
			},
		},
		ReadinessProbe: httpProbe("/ready", 5),
		LivenessProbe:  httpProbe("/live", 10),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			RunAsNonRoot:             new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
	}
	spec := corev1.PodSpec{
		Volumes:                       []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		TerminationGracePeriodSeconds: new(int64(5)),
	}
	if a.volume {
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: "/data"})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: a.dataName()},
		}})
	}
	spec.Containers = []corev1.Container{main}
	return spec
}

func httpProbe(path string, every int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("http"),
		}},
		PeriodSeconds: every,
	}
}

func newService(a app) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: a.meta(),
		Spec: corev1.ServiceSpec{
			Selector: a.selector(),
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				{Name: "metrics", Port: 9090, TargetPort: intstr.FromString("metrics")},
			},
		},
	}
}

func newIngress(a app) *networkingv1.Ingress {
	host := a.name + "." + a.namespace + ".example.com"
	return &networkingv1.Ingress{
		ObjectMeta: a.meta(),
		Spec: networkingv1.IngressSpec{
			IngressClassName: new("nginx"),
			TLS:              []networkingv1.IngressTLS{{Hosts: []string{host}, SecretName: a.name + "-tls"}},
			Rules: []networkingv1.IngressRule{{
				Host: host,
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{
						Path:     "/",
						PathType: new(networkingv1.PathTypePrefix),
						Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
							Name: a.name, Port: networkingv1.ServiceBackendPort{Name: "http"},
						}},
					}},
				}},
			}},
		},
	}
}

// newVolume is the volume for a's claim. Nothing is ever mounted from it.
func newVolume(a app) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: a.namespace + "-" + a.dataName(), Labels: a.labels()},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      a.storage(),
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			StorageClassName:              storageClass,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Namespace: a.namespace, Name: a.dataName()},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/nonexistent/" + a.namespace + "/" + a.name},
			},
		},
	}
}

func newClaim(a app) *corev1.PersistentVolumeClaim {
	meta := a.meta()
	meta.Name = a.dataName()
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: meta,
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			StorageClassName: new(storageClass),
			Resources:        corev1.VolumeResourceRequirements{Requests: a.storage()},
		},
	}
}

func (a app) storage() corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(1+a.number%10)<<30, resource.BinarySI)}
}
