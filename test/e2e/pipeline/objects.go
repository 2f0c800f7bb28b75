package main

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// parse reads an object that is written as JSON in this file.
func parse(format string, args ...any) *unstructured.Unstructured {
	text := fmt.Sprintf(format, args...)
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), o); err != nil {
		panic(fmt.Sprintf("BUG: %v in %s", err, text))
	}
	return o
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func newDefinition() *unstructured.Unstructured {
	return parse(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.krm.test"},
	"spec":{"group":"krm.test","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","shortNames":["wd"]},
	"versions":[{"name":"v1","served":true,"storage":true,
	"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}},
	"additionalPrinterColumns":[{"name":"Colour","type":"string","jsonPath":".spec.colour"},{"name":"Size","type":"integer","jsonPath":".spec.size"},
	{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}]}]}}`)
}

func newNode(name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q,"labels":{"kubernetes.io/hostname":%q,"krm.test/node":"true"},
	"annotations":{"kwok.x-k8s.io/node":"fake"}},
	"status":{"capacity":{"cpu":"256","memory":"1024Gi","pods":"2000"},"allocatable":{"cpu":"256","memory":"1024Gi","pods":"2000"}}}`, name, name)
}

func newNamespace(name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q,"labels":{"team":"a"}}}`, name)
}

const podSpec = `{"terminationGracePeriodSeconds":1,"nodeSelector":{"krm.test/node":"true"},
	"containers":[{"name":"main","image":"images.invalid/shop/web:1.4.2","ports":[{"containerPort":8080,"name":"http"}],
	"env":[{"name":"LOG_LEVEL","value":"info"},{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
	"resources":{"requests":{"cpu":"10m","memory":"16Mi"},"limits":{"memory":"64Mi"}}}]}`

func newDeployment(namespace, name string, replicas int) *unstructured.Unstructured {
	return parse(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":%q,"name":%q,"labels":{"app":%q}},
	"spec":{"replicas":%d,"selector":{"matchLabels":{"app":%q}},"template":{"metadata":{"labels":{"app":%q}},"spec":%s}}}`,
		namespace, name, name, replicas, name, name, podSpec)
}

func newPod(namespace, name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":%q,"name":%q,"labels":{"app":"single"}},"spec":%s}`, namespace, name, podSpec)
}

func newService(namespace, name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":%q,"name":%q},
	"spec":{"clusterIP":"None","selector":{"app":%q},"ports":[{"name":"http","port":80,"targetPort":8080}]}}`, namespace, name, name)
}

func newIngress(namespace, name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"namespace":%q,"name":%q},
	"spec":{"rules":[{"host":"%s.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":%q,"port":{"number":80}}}}]}}]}}`,
		namespace, name, name, name)
}

// newClaim is a claim that nothing will ever bind.
func newClaim(namespace, name string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":%q,"name":%q},
	"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"krm-test-none","resources":{"requests":{"storage":"1Gi"}}}}`, namespace, name)
}

func newWidget(namespace, name string, size int, note string) *unstructured.Unstructured {
	return parse(`{"apiVersion":"krm.test/v1","kind":"Widget","metadata":{"namespace":%q,"name":%q,"annotations":{"note":%q}},
	"spec":{"colour":"green","size":%d,"ratio":0.25,"big":9007199254740993}}`, namespace, name, note, size)
}
