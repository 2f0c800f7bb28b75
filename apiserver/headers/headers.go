// Package headers reads what the headers of a request wish for, as kube-apiserver
// and RFC 9110 read them.
package headers

import (
	"net/http"
	"strconv"
	"strings"
)

// AcceptsGzip says whether the answer may be compressed. What names gzip counts more
// than what names anything (RFC 9110, 12.5.3).
func AcceptsGzip(r *http.Request) bool {
	quality := map[string]float64{}
	for _, header := range r.Header.Values("Accept-Encoding") {
		for clause := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(clause, ";")
			q := 1.0
			if text, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); found {
				q, _ = strconv.ParseFloat(text, 64)
			}
			quality[strings.TrimSpace(name)] = q
		}
	}
	if q, named := quality["gzip"]; named {
		return q > 0
	}
	return quality["*"] > 0
}

// HasTag says whether the client has what the ETag stands for: whether If-None-Match
// names it. Tags are compared weakly (RFC 9110, 13.1.2).
func HasTag(r *http.Request, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, header := range r.Header.Values("If-None-Match") {
		for known := range strings.SplitSeq(header, ",") {
			if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// WantsPretty says whether the answer is for people's eyes: params, of the Accept
// header's clause, or the query say so, or the user agent is one that people type at.
func WantsPretty(r *http.Request, params map[string]string) bool {
	if params["pretty"] == "1" {
		return true
	}
	if strings.Contains(r.URL.RawQuery, "pretty") {
		if wish := r.URL.Query().Get("pretty"); wish != "" {
			pretty, _ := strconv.ParseBool(wish)
			return pretty
		}
	}
	for _, agent := range []string{"curl", "Wget", "Mozilla/5.0"} {
		if strings.HasPrefix(r.UserAgent(), agent) {
			return true
		}
	}
	return false
}
