package apiserver

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// verify leaves a wish for the verifier of a resource and does not wait for it.
func (s *Server) verify(c *gin.Context) {
	r, ask, err := s.wish(c)
	if err != nil {
		kubeapi.WriteError(c, s.log, err)
		return
	}
	c.Set(kubeapi.ResourceKey, r.String())
	if err := s.authorize(c, kubeapi.Access{Verb: "list", Resource: r}); err != nil {
		kubeapi.WriteError(c, s.log, err)
		return
	}
	at := time.Now().UTC()
	if err := s.asks.Ask(c.Request.Context(), r, ask); err != nil {
		s.log.Warn("ask not stored", "resource", r.String(), "err", err)
		kubeapi.WriteError(c, s.log, kubeapi.Unavailable("the wish to verify %v was not stored: Redis does not answer", r))
		return
	}
	c.JSON(http.StatusAccepted, gin.H{"resource": r.String(), "askedAt": at.Format("2006-01-02T15:04:05.000Z07:00")})
}

func (s *Server) wish(c *gin.Context) (object.Resource, object.Ask, error) {
	ask := object.AskVerify
	if text := c.Query("full"); text != "" {
		full, err := strconv.ParseBool(text)
		if err != nil {
			return object.Resource{}, "", kubeapi.BadRequest("parameter full=%q: want true or false", text)
		}
		if full {
			ask = object.AskFull
		}
	}
	r, err := s.watched(c.Query("resource"))
	return r, ask, err
}

// watched returns the registered resource that users call name.
func (s *Server) watched(name string) (object.Resource, error) {
	if name == "" {
		return object.Resource{}, kubeapi.BadRequest("parameter resource is missing: want the name of a watched resource, such as pods")
	}
	registered, at, _ := s.set.Registered()
	if at.IsZero() {
		return object.Resource{}, kubeapi.Unavailable("Redis has not told yet which resources are watched")
	}
	var found []object.Resource
	var names []string
	for _, candidate := range registered {
		r := candidate.Resource
		if r.String() == name {
			return r, nil
		}
		if r.Answers(name) {
			found = append(found, r)
		}
		names = append(names, r.String())
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		slices.Sort(names)
		return object.Resource{}, kubeapi.NotFound("resource %q is not watched; these are: %s", name, strings.Join(names, ", "))
	}
	return object.Resource{}, kubeapi.BadRequest("parameter resource=%q: could be %s", name, join(found))
}

func join(resources []object.Resource) string {
	var names []string
	for _, r := range resources {
		names = append(names, fmt.Sprint(r))
	}
	return strings.Join(names, " or ")
}
