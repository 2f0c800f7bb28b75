package billing

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// body is the fields of a request's body, as JSON.
type body map[string]jsontext.Value

// readBody reads the request's body, whose fields must be among known. An absent one
// has none, and a field that is null counts as absent. What Content-Type calls it does
// not matter: it is JSON.
func readBody(q request, known ...string) (body, error) {
	if coding := q.GetHeader("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		q.Header("Accept-Encoding", "identity")
		return nil, faultf(http.StatusUnsupportedMediaType, "Content-Encoding: %s: want the body as it is, not compressed", quoted(coding))
	}
	tooLarge := faultf(http.StatusRequestEntityTooLarge, "the body is longer than %d KiB", maxBody>>10)
	if q.Request.ContentLength > maxBody {
		return nil, tooLarge
	}
	text, err := io.ReadAll(http.MaxBytesReader(q.Writer, q.Request.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, tooLarge
	case err != nil:
		return nil, faultf(http.StatusBadRequest, "the body ended early: want a JSON object")
	}
	if text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff"))); len(text) == 0 {
		return body{}, nil
	}
	fields, err := readObject(text, "a JSON object with fields among "+strings.Join(known, ", "))
	if err != nil {
		return nil, err
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

// readObject reads a JSON object, each of whose names stands in it once, and nothing
// after it.
func readObject(text []byte, want string) (body, error) {
	fields := body{}
	err := json.Unmarshal(text, &fields)
	var syntax *jsontext.SyntacticError
	switch {
	case text[0] == '{' && err == nil:
		return fields, nil
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return nil, faultf(http.StatusBadRequest, "%s: it is given twice: want each field once", quoted(syntax.JSONPointer.LastToken()))
	}
	return nil, badField("body", text, want)
}

// quoted is a name that a client chose, for a message.
func quoted(name string) string { return strconv.Quote(shortened(name)) }

// shortened is the begin of a text that a client chose.
func shortened(text string) string {
	if len(text) > excerptBytes {
		text = strings.ToValidUTF8(text[:excerptBytes], "") + "…"
	}
	return text
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
	if err != nil && raw.Kind() == '0' { // 5.0 and 1e2 are whole numbers, too
		var number float64
		if number, err = strconv.ParseFloat(text, 64); err == nil && (number != math.Trunc(number) || number > math.MaxInt32) {
			err = strconv.ErrRange
		}
		n = int64(number)
	}
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
