package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// injection is one hostile string on one database.
type injection struct {
	*side
	text   string
	truth  map[string]int64 // namespaces, as they are stored: the sum of their pods
	fields map[string]any   // cluster and interval of the hostile story
}

// injectionsPart puts every string everywhere, and then looks whether anything but
// answers came of it.
func injectionsPart(ctx context.Context, s *side, r *result) error {
	truth := map[string]int64{}
	h := s.hostile
	for i, text := range h.strings {
		truth[cleaned(text)] += int64(1000+i) * h.windows
	}
	q := question{metric: "cpu/usage_rate", agg: "all-pod", from: h.begin, to: h.end()}
	fields := q.body(&h.story)
	delete(fields, "agg")
	before, err := s.canaries(ctx)
	if err != nil {
		return err
	}
	if err := s.stored(ctx, fields); err != nil {
		r.fault("%s: hostile strings do not come back: %v", s.name, err)
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, text := range h.strings {
		one := injection{s, text, truth, fields}
		g.Go(func() error {
			err := one.try(inner)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.injections.add(err == nil)
			if err != nil {
				r.faults = append(r.faults, fmt.Sprintf("%s: injection %q: %v", s.name, text, err))
			}
			return inner.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	after, err := s.canaries(ctx)
	if err != nil {
		return err
	}
	for name, was := range before {
		if after[name] != was {
			r.fault("%s: the canary %s was %.200s, and is %.200s", s.name, name, was, after[name])
		}
	}
	return nil
}

// stored checks that every pod of the hostile story comes back as it was written.
func (s *side) stored(ctx context.Context, fields map[string]any) error {
	want := map[string]int64{}
	for i, text := range s.hostile.strings {
		want[cleaned(text)+"\x00"+cleaned(s.hostile.podName(i))+"\x00h-"+strings.Repeat("i", i)] = int64(1000+i) * s.hostile.windows
	}
	body := with(fields, "agg", "all-pod")
	got, err := s.api.want(ctx, "/api/cpu/usage_rate", body)
	if err != nil {
		return err
	}
	var rows []row
	if err := decode(got.body, &rows); err != nil {
		return err
	}
	if got, err = s.api.want(ctx, "/api/cpu/usage_rate", body, "Accept", "text/csv"); err != nil {
		return err
	}
	cells, err := csv.NewReader(strings.NewReader(string(got.body))).ReadAll()
	if err != nil || len(rows) != len(want) || len(cells) != len(want)+1 {
		return fmt.Errorf("%d rows and %d of CSV, want %d: %w", len(rows), len(cells)-1, len(want), err)
	}
	namespace, pod, sum := slices.Index(cells[0], "namespace_name"), slices.Index(cells[0], "pod_name"), slices.Index(cells[0], "sum")
	for i, r := range rows {
		key := r.Namespace + "\x00" + r.Pod + "\x00" + r.UID
		if value, known := want[key]; !known || r.Sum.String() != fmt.Sprint(value) {
			return fmt.Errorf("row %q: %s, want %d", key, r.Sum, value)
		}
		delete(want, key)
		if line := cells[i+1]; strings.ReplaceAll(line[namespace], "\r\n", "\n") != r.Namespace || line[pod] != r.Pod || line[sum] != r.Sum.String() {
			return fmt.Errorf("row %q as CSV: %q", key, line)
		}
	}
	return nil
}

// with is a copy of fields with names and values in turn.
func with(fields map[string]any, more ...any) map[string]any {
	all := map[string]any{}
	for name, value := range fields {
		all[name] = value
	}
	for i := 0; i+1 < len(more); i += 2 {
		all[more[i].(string)] = more[i+1]
	}
	return all
}

// seen is the string after it was JSON: what is no UTF-8 is U+FFFD there.
func (i *injection) seen() string {
	encoded, err := json.Marshal(i.text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var text string
	if err := json.Unmarshal(encoded, &text); err != nil {
		panic("BUG: " + err.Error())
	}
	return text
}

// try puts the string everywhere.
func (i *injection) try(ctx context.Context) error {
	for name, check := range map[string]func(context.Context) error{
		"as a namespace": i.asNamespace, "excluded": i.asExcluded, "in other fields": i.inFields, "in a report": i.inReport, "in the path": i.inPath, "as the body": i.asBody,
		"in headers": i.inHeaders,
	} {
		if err := check(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (i *injection) asNamespace(ctx context.Context) error {
	name := cleaned(i.seen())
	var sum int64
	for agg, path := range map[string]string{"pod-by-namespace": "/api/cpu/usage_rate", "": "/api/cpu/usage_rate", "pod-by-namespace ": "/api/network/rx"} {
		got, err := i.api.want(ctx, path, with(i.fields, "namespace", i.text, "agg", strings.TrimSpace(agg), "level", podLevel, "limit", 0))
		if err != nil {
			return err
		}
		var rows []row
		if err := decode(got.body, &rows); err != nil {
			return err
		}
		for _, r := range rows {
			if r.Namespace != name || r.Cluster != hostileCluster {
				return fmt.Errorf("there is a row of the namespace %q in %q", r.Namespace, r.Cluster)
			}
			if agg == "pod-by-namespace" {
				n, _ := r.Sum.Int64()
				sum += n
			}
		}
	}
	if sum != i.truth[name] {
		return fmt.Errorf("the sum is %d, want %d", sum, i.truth[name])
	}
	return nil
}

func (i *injection) asExcluded(ctx context.Context) error {
	got, err := i.api.want(ctx, "/api/cpu/usage_rate", with(i.fields, "agg", "all-namespace", "excludeNamespaces", []string{i.text, "x"}))
	if err != nil {
		return err
	}
	var rows []row
	if err := decode(got.body, &rows); err != nil {
		return err
	}
	want := len(i.truth)
	if _, known := i.truth[cleaned(i.seen())]; known {
		want--
	}
	for _, r := range rows {
		if r.Namespace == cleaned(i.seen()) || r.Sum.String() != fmt.Sprint(i.truth[r.Namespace]) {
			return fmt.Errorf("there is a row %q: %s", r.Namespace, r.Sum)
		}
	}
	if len(rows) != want {
		return fmt.Errorf("%d rows, want %d", len(rows), want)
	}
	return nil
}

// codes checks that an answer is one of these, and healthy in form.
func codes(got reply, err error, want ...int) error {
	switch {
	case err != nil:
		return err
	case !slices.Contains(want, got.code):
		return fmt.Errorf("%d, want %v: %.200s", got.code, want, got.body)
	case got.code >= 400:
		return isFault(got)
	}
	return nil
}

func (i *injection) inFields(ctx context.Context) error {
	for _, name := range []string{"cluster", "agg", "level", "limit", "timeBeginInterval", "timeEndInterval", "no such " + i.text, i.text} {
		got, err := i.api.post(ctx, "/api/cpu/usage_rate", with(i.fields, name, i.text))
		if err := codes(got, err, http.StatusOK, http.StatusBadRequest); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if got.code == http.StatusOK && strings.TrimSpace(string(got.body)) != "[]" {
			return fmt.Errorf("%s: there are rows: %.200s", name, got.body)
		}
	}
	return nil
}

func (i *injection) inReport(ctx context.Context) error {
	for _, one := range []struct {
		name string
		want []int
		text string
	}{
		{"by", []int{400}, i.text},
		{"by", []int{200, 400}, "label:" + i.text},
		{"month", []int{400}, i.text},
		{"timezone", []int{400}, i.text},
		{"format", []int{400}, i.text},
		{"cluster", []int{200}, i.text},
	} {
		got, err := i.api.post(ctx, "/api/report", with(i.fields, one.name, one.text))
		if err := codes(got, err, one.want...); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

func (i *injection) inPath(ctx context.Context) error {
	for _, path := range []string{"/api/" + url.PathEscape(i.text), "/api/cpu/" + url.PathEscape(i.text), "/api/cpu/usage_rate/" + url.PathEscape(i.text), "/api/" + url.PathEscape(i.text) + "/request"} {
		got, err := i.api.post(ctx, path, with(i.fields, "namespace", "nowhere"))
		// A path may be cleaned, and then is another one.
		if err := codes(got, err, 200, 400, 404, 307, 301); err != nil && got.code != 405 {
			return fmt.Errorf("%s: %w", path, err)
		}
		if got.code == http.StatusOK && strings.TrimSpace(string(got.body)) != "[]" {
			return fmt.Errorf("%s: there are rows: %.200s", path, got.body)
		}
	}
	return nil
}

func (i *injection) asBody(ctx context.Context) error {
	for _, body := range []string{i.text, `{"namespace":` + i.text + `}`, `{"namespace":"` + i.text + `","cluster":"` + hostileCluster + `"}`} {
		got, err := i.api.post(ctx, "/api/cpu/usage_rate", body)
		if err := codes(got, err, 200, 400); err != nil {
			return err
		}
		// Some are bodies: of nothing, or of {}. They ask for the namespace "default".
		var rows []row
		if got.code == http.StatusOK {
			err = decode(got.body, &rows)
		}
		for _, r := range rows {
			if r.Namespace != "default" || r.Cluster != "default" {
				err = fmt.Errorf("there is a row of %q in %q", r.Namespace, r.Cluster)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inHeaders sends the string as it is, whatever HTTP says of it.
func (i *injection) inHeaders(ctx context.Context) error {
	for _, name := range []string{"X-USERNAME", "X-PASSWORD", "Accept", "Content-Type", "X-Forwarded-For"} {
		headers := []string{"X-USERNAME: " + username, "X-PASSWORD: " + password}
		refused := strings.HasPrefix(name, "X-") && name != "X-Forwarded-For"
		if refused {
			headers = slices.DeleteFunc(headers, func(h string) bool { return strings.HasPrefix(h, name) })
		}
		code, err := i.api.elsewhere().raw(ctx, "/api/uptime", append(headers, name+": "+i.text), `{"namespace":"nowhere"}`)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if code != 400 && (refused && code != 401 || !refused && code != 200 && code != 406 && code != 415) {
			return fmt.Errorf("%s: %d", name, code)
		}
	}
	return nil
}

// deadline is how long a raw request may take.
const deadline = 30 * time.Second
