package kubeapi

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
)

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// describe sets the headers that every answer about cluster state has: how far it
// may be trusted, that it is the caller's own, and what people should be warned of.
// doubt is why root may be older than it should be, nil if it is not.
func (a *API) describe(h http.Header, m *mirror.Mirror, root *mirror.Root, doubt error) {
	now := time.Now()
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	fresh := root.Freshness
	set("Krm-Resource-Version", string(fresh.Streamed))
	set("Krm-Streamed-At", formatTime(fresh.StreamedAt))
	set("Krm-Verified-Resource-Version", string(fresh.Verified))
	set("Krm-Verified-At", formatTime(fresh.VerifiedAt))
	set("Cache-Control", "private")
	set("Vary", "Accept, Accept-Encoding, Authorization")
	warnings := a.warnings(m, root, now)
	if status := m.Status(); doubt != nil && status.Err == nil && status.Phase == mirror.PhaseFollowing {
		warnings = append(warnings, fmt.Sprintf("%v: newer changes may be missing: %v", m.Resource(), doubt))
	}
	for _, warning := range warnings {
		Warn(h, warning)
	}
}

// Warn adds a header that kubectl shows to people.
func Warn(h http.Header, text string) {
	h.Add("Warning", `299 krm "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

// warnings says why an answer may be staler than it should be.
func (a *API) warnings(m *mirror.Mirror, root *mirror.Root, now time.Time) (texts []string) {
	warn := func(format string, args ...any) {
		texts = append(texts, m.Resource().String()+": "+fmt.Sprintf(format, args...))
	}
	status, fresh := m.Status(), root.Freshness
	switch {
	case status.Err != nil:
		warn("this server has been cut off from Redis for %v; this is the state of %s", age(status.ErrSince, now), formatTime(fresh.StreamedAt))
	case status.Phase != mirror.PhaseFollowing:
		warn("this server reads its copy anew (%s); this is the state of %s", status.Reason, formatTime(fresh.StreamedAt))
	case now.Sub(fresh.StreamedAt) > a.options.StaleAfter:
		warn("the stream from the cluster is %v old", age(fresh.StreamedAt, now))
	}
	switch {
	case fresh.VerifiedAt.IsZero() && now.Sub(status.SyncedAt) > a.options.UnverifiedAfter:
		warn("never verified against the cluster")
	case !fresh.VerifiedAt.IsZero() && now.Sub(fresh.VerifiedAt) > a.options.UnverifiedAfter:
		warn("last verified against the cluster %v ago", age(fresh.VerifiedAt, now))
	}
	return texts
}

func age(since, now time.Time) time.Duration { return now.Sub(since).Round(time.Second) }

// unchanged tells the client what to call the answer, and answers 304 if it has that
// already. scope is what all objects say that the answer may depend on: the same on
// every replica, and another one after any change. The tag is signed, so that nobody
// can learn from it what the objects might be.
func (a *API) unchanged(q *request, root *mirror.Root, scope mirror.Sum) bool {
	f := q.forms[0]
	if f.shape == shapeTable { // its cells tell the time
		return false
	}
	key, err := a.signer.load(q.Request.Context(), 0)
	if err != nil {
		return false
	}
	tag := fmt.Sprintf(`W/"%x"`, sign(key, fmt.Appendf(nil, "%s\x00%x\x00%v\x00%s", root.Lineage, scope, f, q.Request.URL.RawQuery)))
	q.Header("ETag", tag)
	if !headers.HasTag(q.Request, tag) {
		return false
	}
	q.Status(http.StatusNotModified)
	q.Writer.WriteHeaderNow()
	return true
}
