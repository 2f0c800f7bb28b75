package apiserver

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
)

// writeTimeout is how long a client may take to accept an answer, or one piece of
// a long one.
const writeTimeout = 30 * time.Second

// limitWrites bounds each answer, whichever http.Server serves it.
func limitWrites(c *gin.Context) {
	// Not every writer knows deadlines; those of connections do.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(writeTimeout))
}

// as names what a request is for, for the metrics.
func as(verb string) gin.HandlerFunc {
	return func(c *gin.Context) { c.Set(kubeapi.VerbKey, verb) }
}

// observe measures and logs each request, also one that ends in a panic.
func (s *Server) observe(c *gin.Context) {
	begun := time.Now()
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		took, verb := time.Since(begun), c.GetString(kubeapi.VerbKey)
		if verb == "" {
			verb = "other"
		}
		status, size := c.Writer.Status(), max(0, c.Writer.Size())
		s.metrics.observe(verb, c.GetString(kubeapi.ResourceKey), status, size, took)
		level := slog.LevelDebug
		if status == http.StatusInternalServerError {
			level = slog.LevelWarn
		}
		s.log.Log(c.Request.Context(), level, "request", "method", c.Request.Method, "path", c.Request.URL.Path,
			"status", status, "bytes", size, "took", took, "from", c.Request.RemoteAddr)
	}()
	c.Next()
}

// recover turns a panic into a 500, or cuts the answer off if part of it is out.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
			panic(cause)
		}
		s.log.Error("request panicked", "path", c.Request.URL.Path, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		kubeapi.WriteError(c, s.log, fmt.Errorf("panic: %v", cause))
	}()
	c.Next()
}
