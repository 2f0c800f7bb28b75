package influx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

const (
	// rowsPerChunk is how many rows the server sends at a time.
	rowsPerChunk = "10000"
	// packed is MessagePack: it says which numbers are integers, and takes the server and
	// us half the time of JSON.
	packed = "application/x-msgpack"
)

// serverError is what the server says instead of an answer, or in one.
type serverError struct{ text string }

// Error is the server's own text.
func (e *serverError) Error() string { return "InfluxDB answers: " + e.text }

// query runs a statement and yields the answer's rows as they come, until told to
// stop. A row is good until the next one.
func (s *Store) query(ctx context.Context, st *statement, yield func(*series, row) bool) error {
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
	request.Header.Set("Accept", packed)
	request.SetBasicAuth(s.options.User, s.options.Password)
	response, err := s.http.Do(request)
	if err != nil {
		return fault("ask InfluxDB", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusOK {
		return refusedQuery(response)
	}
	err = readAnswer(response.Body, yield)
	var said *serverError
	if errors.As(err, &said) && isPassing(said.text) {
		return fmt.Errorf("%w: %w", metricdb.ErrUnavailable, err)
	}
	return err
}

// isPassing says whether what the server says is about its load, not about the statement.
func isPassing(text string) bool {
	for _, sign := range []string{"timeout", "killed", "limit", "engine is closed", "shard is disabled"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return isNoSpace(text)
}

// refusedQuery makes an error of an answer that is none.
func refusedQuery(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	err := &refusal{status: response.StatusCode, text: short(errorText(response, text))}
	if response.StatusCode == http.StatusBadRequest {
		return err // our fault: the statement
	}
	return fault("ask InfluxDB", err)
}

// errorText is the text in the body of an answer that is none: MessagePack, JSON, or
// plain text of something in between.
func errorText(response *http.Response, body []byte) string {
	if strings.HasPrefix(response.Header.Get("Content-Type"), packed) {
		var said *serverError
		if err := readAnswer(bytes.NewReader(body), func(*series, row) bool { return true }); errors.As(err, &said) {
			return said.text
		}
	}
	var said struct{ Error, Message string }
	if json.Unmarshal(body, &said) == nil && said.Error+said.Message != "" {
		return said.Error + said.Message
	}
	return strings.TrimSpace(string(body))
}

// short is the beginning of a text.
func short(text string) string {
	if len(text) > 500 {
		return strings.ToValidUTF8(text[:500], "") + " …"
	}
	return text
}
