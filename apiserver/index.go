package apiserver

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

const indexText = `Kubernetes Resource Monitor

Cluster state as the Kubernetes API serves it: kubectl --server=THIS-ADDRESS get pods
  /api/v1/pods?labelSelector=…&fieldSelector=…&limit=…&watch=true
  /api/v1/namespaces/NAMESPACE/pods[/NAME]
  /apis/GROUP/VERSION/…
and besides: maxStaleness=5s, krm.io/fieldSelector=spec.containers[*].image=nginx,
  orderBy=status.startTime, fields=metadata.labels,status.phase,
  Accept: text/event-stream for watches

Short paths, filtered by name=… namespace=… node=… label_selector=…:
  /pods /nodes /services /ingress /pvcs /deployments /namespaces

Metrics of the last fifteen minutes, where a collector runs: kubectl --server=THIS-ADDRESS top pods
  /api/v1/model/…                 nodes, namespaces, pods, containers, and their series
  /api/v1/metric-export           everything of the newest batch
  /apis/metrics.k8s.io/v1beta1/…  nodes and pods, as kubectl top reads them
  /clusters /krm/v1/metrics/nodes which clusters there are, how each node's collection went

KRM itself:
  /krm/v1/count?resource=pods&by=phase|node|namespace|label:KEY
  /krm/v1/status                  what is watched, how fresh, how right
  POST /krm/v1/verify?resource=…  verify it now (full=true: bodies too)
  /livez /readyz?verbose /metrics
`

func index(c *gin.Context) { c.String(http.StatusOK, indexText) }
