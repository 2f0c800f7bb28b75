package apiserver

import (
	"net/http"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
)

// userKey is where a request's user is kept in its gin.Context.
const userKey = "krm.user"

// isOpen says whether everybody may ask, whoever it is.
func isOpen(path string) bool { return path == "/livez" || path == "/readyz" || path == "/healthz" }

// authenticate finds out who asks, and refuses who cannot be known.
func (s *Server) authenticate(c *gin.Context) {
	if s.options.Guard == nil || isOpen(c.Request.URL.Path) {
		return
	}
	user, err := s.options.Guard.Authenticate(c.Request.Context(), c.Request)
	if err != nil {
		if apierrors.IsUnauthorized(err) {
			c.Header("WWW-Authenticate", `Bearer realm="krm"`)
		}
		kubeapi.WriteError(c, s.log, err)
		return
	}
	c.Set(userKey, user)
}

// authorize fails unless the request's user may do what access says.
func (s *Server) authorize(c *gin.Context, access kubeapi.Access) error {
	if s.options.Guard == nil {
		return nil
	}
	r := access.Resource
	decision, err := s.options.Guard.Authorize(c.Request.Context(), user(c), auth.Attributes{
		Verb: access.Verb, Group: r.Group, Version: r.Version, Resource: r.Name,
		Namespace: access.Namespace, Name: access.Name, Path: access.Path,
	})
	if err == nil && decision.Warning != "" {
		kubeapi.Warn(c.Writer.Header(), decision.Warning)
	}
	return err
}

// permit authorizes requests for paths that are no resource's.
func (s *Server) permit(c *gin.Context) {
	verb := "get"
	if c.Request.Method == http.MethodPost {
		verb = "post"
	}
	if err := s.authorize(c, kubeapi.Access{Verb: verb, Path: c.Request.URL.Path}); err != nil {
		kubeapi.WriteError(c, s.log, err)
	}
}

func user(c *gin.Context) auth.User {
	if known, ok := c.Get(userKey); ok {
		return known.(auth.User)
	}
	return auth.User{}
}

// forward passes a request on to the API server, if that was asked for.
func (s *Server) forward(c *gin.Context) (handled bool) {
	if s.options.Passthrough == nil {
		return false
	}
	s.options.Passthrough.Forward(c.Writer, c.Request, user(c))
	return true
}

// maxURI is how long a request's path and query may be together.
const maxURI = 32 << 10

// limitURI refuses requests whose selectors and the like are out of all bounds.
func (s *Server) limitURI(c *gin.Context) {
	if length := len(c.Request.RequestURI); length > maxURI {
		kubeapi.WriteError(c, s.log, &apierrors.StatusError{ErrStatus: metav1.Status{
			Code: http.StatusRequestURITooLong, Reason: "RequestURITooLong",
			Message: "path and query are too long: want at most 32 KiB; select less, or more generally",
		}})
	}
}
