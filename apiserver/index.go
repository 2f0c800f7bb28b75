package apiserver

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

const indexText = `Kubernetes Resource Monitor

Cluster state, read-only, as the Kubernetes API serves it (labelSelector=… selects):
  /api/v1/pods
  /api/v1/namespaces/NAMESPACE/pods[/NAME]
  /apis/GROUP/VERSION/…

Short paths, filtered by name=… namespace=… node=… label_selector=…:
  /pods /nodes /services /ingress /pvcs /deployments /namespaces

KRM itself:
  /krm/v1/status                  what is watched, how fresh, how right
  POST /krm/v1/verify?resource=…  verify it now (full=true: bodies too)
  /livez /readyz?verbose /metrics
`

func index(c *gin.Context) { c.String(http.StatusOK, indexText) }
