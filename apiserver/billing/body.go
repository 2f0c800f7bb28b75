package billing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// body is the fields of a request's body, as JSON.
type body map[string]json.RawMessage

// readBody reads the request's body, whose fields must be among known. An absent one
// has none, and a field that is null counts as absent.
func readBody(q request, known ...string) (body, error) {
	text, err := io.ReadAll(http.MaxBytesReader(q.Writer, q.Request.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, faultf(http.StatusRequestEntityTooLarge, "the body is longer than %d KiB", maxBody>>10)
	case err != nil:
		return nil, faultf(http.StatusBadRequest, "the body ended early: want a JSON object")
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return body{}, nil
	}
	fields := body{}
	if text[0] != '{' || json.Unmarshal(text, &fields) != nil {
		return nil, badField("body", text, "a JSON object with fields among "+strings.Join(known, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			return nil, badField(quoted(name), fields[name], "fields among "+strings.Join(known, ", "))
		}
		if string(fields[name]) == "null" {
			delete(fields, name)
		}
	}
	return fields, nil
}

// quoted is a name that a client chose, for a message.
func quoted(name string) string {
	if len(name) > excerptBytes {
		name = strings.ToValidUTF8(name[:excerptBytes], "") + "…"
	}
	return strconv.Quote(name)
}

// text reads a string; absent, it is otherwise.
func (b body) text(name, otherwise, want string) (string, error) {
	raw, ok := b[name]
	if !ok {
		return otherwise, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", badField(name, raw, want)
	}
	return text, nil
}

// texts reads a list of strings.
func (b body) texts(name, want string) ([]string, error) {
	raw, ok := b[name]
	if !ok {
		return nil, nil
	}
	var list []*string
	if json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		return nil, badField(name, raw, want)
	}
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = *text
	}
	return texts, nil
}

const wantLimit = `a whole number from 0 on, or a string of one; 0 is no limit`

// limit reads how many datapoints are wanted: a number, or a string of one.
func (b body) limit(name string, otherwise int) (int, error) {
	raw, ok := b[name]
	if !ok {
		return otherwise, nil
	}
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if json.Unmarshal(raw, &text) != nil || strings.Trim(text, "0123456789") != "" {
			return 0, badField(name, raw, wantLimit)
		}
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, badField(name, raw, wantLimit+", and at most 2147483647")
	}
	return int(n), nil
}

// The fields that bound the interval.
const (
	beginField = "timeBeginInterval"
	endField   = "timeEndInterval"
	wantTime   = `a time from 1970 to 2199 as "2006-01-02", "2006-01-02 15:04:05", "2006-01-02 15:04:05.000" (UTC) or RFC 3339 with its zone, "2006-01-02T15:04:05+01:00"`
)

// times are those that zone has no say in.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// time reads a time; those without a zone are in zone.
func (b body) time(name string, otherwise time.Time, zone *time.Location) (time.Time, error) {
	raw, ok := b[name]
	if !ok {
		return otherwise, nil
	}
	text, err := b.text(name, "", wantTime)
	if err != nil {
		return time.Time{}, err
	}
	t, ok := parseTime(text, zone)
	if !ok {
		return time.Time{}, badField(name, raw, wantTime)
	}
	return t.UTC(), nil
}

// parseTime reads the three forms of times, strictly: time.Parse alone is content with
// hours of one digit and with commas.
func parseTime(text string, zone *time.Location) (time.Time, bool) {
	const day, second = "2006-01-02", "2006-01-02 15:04:05"
	layout := day
	switch {
	case len(text) == len(day):
	case len(text) < len(second) || len(text) > 40 || strings.Contains(text, ","):
		return time.Time{}, false
	case text[10] == ' ':
		layout = second
	default:
		layout = time.RFC3339
	}
	if layout != day && (text[13] != ':' || text[16] != ':' || strings.HasSuffix(text, ".")) {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(layout, text, zone)
	return t, err == nil && !t.Before(earliest) && t.Before(latest)
}

// interval reads both bounds.
func (b body) interval(now time.Time, zone *time.Location) (from, to time.Time, err error) {
	if from, err = b.time(beginField, now.Add(-time.Hour), zone); err != nil {
		return from, to, err
	}
	if to, err = b.time(endField, now, zone); err != nil {
		return from, to, err
	}
	if !from.Before(to) {
		return from, to, faultf(http.StatusBadRequest, "%s: %q: want a time before %s, which is %q; one that is not given is an hour before now, or now",
			beginField, rfc3339(from), endField, rfc3339(to))
	}
	return from, to, nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
