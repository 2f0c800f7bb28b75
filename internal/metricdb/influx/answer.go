package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// rowsPerChunk is how many rows the server sends at a time.
const rowsPerChunk = "10000"

// series is one series of an answer, or a part of it.
type series struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	Values  table             `json:"values"`
}

// tags returns the series' tags, without those that are absent.
func (s *series) tags() metricdb.Tags {
	tags := make(metricdb.Tags, 0, len(s.Tags))
	for key, value := range s.Tags {
		if value != "" {
			tags = append(tags, metrics.Label{Key: key, Value: value})
		}
	}
	slices.SortFunc(tags, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// table is rows of JSON values, cut into cells but not decoded.
type table struct{ rows []row }

type row [][]byte

// UnmarshalJSON cuts [[1,2,"x"],…] into cells. The text is valid JSON already.
func (t *table) UnmarshalJSON(text []byte) error {
	text = slices.Clone(text)
	var cells [][]byte
	depth, start := 0, -1
	end := func(i int) {
		if start >= 0 {
			cells = append(cells, text[start:i:i])
			start = -1
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '[':
			if depth++; depth == 2 {
				cells = make([][]byte, 0, max(len(cells), 2))
			}
		case c == ']':
			end(i)
			if depth--; depth == 1 {
				t.rows = append(t.rows, cells)
			}
		case c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r':
			end(i)
		case c == '"':
			start = i
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			end(min(i+1, len(text)))
		case start < 0:
			start = i
		}
	}
	return nil
}

func (r row) null(i int) bool { return i >= len(r) || string(r[i]) == "null" }

// text decodes a string; "" of null.
func (r row) text(i int) (text string) {
	if !r.null(i) {
		_ = json.Unmarshal(r[i], &text) // another type is "" too
	}
	return text
}

func (r row) int(i int) int64 {
	if i >= len(r) {
		return 0
	}
	v, _ := strconv.ParseInt(string(r[i]), 10, 64)
	return v
}

// value decodes a number of a metric whose values are floats, or integers. A number
// of the other type, from another writer, is converted.
func (r row) value(i int, float bool) metricdb.Value {
	if i >= len(r) {
		return metricdb.Value{Float: float}
	}
	if !float {
		if v, err := strconv.ParseInt(string(r[i]), 10, 64); err == nil {
			return metricdb.Int(v)
		}
	}
	f, _ := strconv.ParseFloat(string(r[i]), 64)
	if float {
		return metricdb.Float(f)
	}
	return metricdb.Int(int64(f))
}

type answer struct {
	Results []struct {
		Series []series `json:"series"`
		Error  string   `json:"error"`
	} `json:"results"`
	Error string `json:"error"`
}

// query runs a statement and yields the answer's series as they come, large ones in
// several parts, until told to stop.
func (s *Store) query(ctx context.Context, st *statement, yield func(*series) bool) error {
	params, err := json.Marshal(st.params)
	if err != nil {
		return err
	}
	form := url.Values{
		"q": {st.text.String()}, "params": {string(params)}, "db": {s.options.Database},
		"epoch": {"ns"}, "chunked": {"true"}, "chunk_size": {rowsPerChunk},
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL+"/query", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(s.options.User, s.options.Password)
	response, err := s.http.Do(request)
	if err != nil {
		return fault("ask InfluxDB", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusOK {
		return refusedQuery(response)
	}
	return s.read(response.Body, yield)
}

// refusedQuery makes an error of an answer that is none.
func refusedQuery(response *http.Response) error {
	var said answer
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if json.Unmarshal(text, &said) != nil || said.Error == "" {
		said.Error = strings.TrimSpace(string(text))
	}
	err := fmt.Errorf("InfluxDB answers %s: %s", response.Status, said.Error)
	if response.StatusCode == http.StatusBadRequest {
		return err // our fault: the statement
	}
	return fmt.Errorf("%w: %w", metricdb.ErrUnavailable, err)
}

func (s *Store) read(body io.Reader, yield func(*series) bool) error {
	for decoder := json.NewDecoder(body); ; {
		var part answer
		switch err := decoder.Decode(&part); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fault("read InfluxDB's answer", err)
		}
		if part.Error != "" {
			return serverError(part.Error)
		}
		for _, result := range part.Results {
			if result.Error != "" {
				return serverError(result.Error)
			}
			for i := range result.Series {
				if !yield(&result.Series[i]) {
					return nil
				}
			}
		}
	}
}

func serverError(text string) error {
	err := fmt.Errorf("InfluxDB answers: %s", text)
	if strings.Contains(text, "timeout") || strings.Contains(text, "killed") || strings.Contains(text, "limit") {
		return fmt.Errorf("%w: %w", metricdb.ErrUnavailable, err)
	}
	return err
}
