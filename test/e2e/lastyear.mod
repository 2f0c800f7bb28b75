module github.com/kubernetes-resource-monitor/krm/test/e2e

go 1.26.0

require (
	k8s.io/api v0.35.10 // indirect
	k8s.io/client-go v0.35.10 // indirect
)
