package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// plant is a fault that a planter puts into answers about one object.
type plant string

// The plants.
const (
	alter   plant = "alter"   // one field is another, everywhere
	omit    plant = "omit"    // the object is missing, everywhere
	swallow plant = "swallow" // one event of each watch about the object is missing
)

func plants() []plant { return []plant{alter, omit, swallow} }

// planter is a proxy that spoils what a server says of the objects of one name.
type planter struct {
	plant plant
	name  string
	after time.Duration // how old a watch is before an event is swallowed
}

// newPlanter starts a planter in front of s. It understands JSON alone, so that is
// all it asks for.
func newPlanter(s *side, what plant, name string, after time.Duration, dir string) (*httptest.Server, *side, error) {
	target, err := url.Parse(s.config.Host)
	if err != nil {
		return nil, nil, err
	}
	transport, err := rest.TransportFor(s.config)
	if err != nil {
		return nil, nil, err
	}
	p := &planter{plant: what, name: name, after: after}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = target.Host
			r.Out.Header.Del("Accept-Encoding")
			r.Out.Header.Set("Accept", onlyJSON(r.In.Header.Get("Accept")))
		},
		Transport: transport, ModifyResponse: p.spoil, FlushInterval: -1,
	})
	spoiled, err := newSide(string(what)+"-"+name, &rest.Config{Host: server.URL}, dir)
	if err != nil {
		server.Close()
	}
	return server, spoiled, err
}

// onlyJSON leaves of an Accept header what asks for JSON.
func onlyJSON(accept string) string {
	var kept []string
	for part := range strings.SplitSeq(accept, ",") {
		if strings.HasPrefix(strings.TrimSpace(part), "application/json") {
			kept = append(kept, part)
		} else if strings.Contains(part, ";as=Partial") {
			kept = append(kept, strings.Replace(part, "application/vnd.kubernetes.protobuf", "application/json", 1))
		}
	}
	if len(kept) == 0 {
		return "application/json"
	}
	return strings.Join(kept, ",")
}

func (p *planter) spoil(response *http.Response) error {
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	if watch := response.Request.URL.Query().Get("watch"); watch == "1" || watch == "true" {
		reader, writer := io.Pipe()
		body := response.Body
		response.Body = struct {
			io.Reader
			io.Closer
		}{reader, closer{reader, body}}
		go func() { writer.CloseWithError(p.spoilFrames(writer, body)) }() // ends when either side is closed
		return nil
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return err
	}
	if bytes.Contains(text, []byte(strconv.Quote(p.name))) {
		if text, err = p.spoilAnswer(text); err != nil {
			return err
		}
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	response.ContentLength = int64(len(text))
	response.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

type closer struct{ a, b io.Closer }

// Close implements io.Closer.
func (c closer) Close() error {
	_ = c.a.Close()
	return c.b.Close()
}

func (p *planter) spoilFrames(out io.Writer, in io.Reader) error {
	frames := bufio.NewReader(in)
	swallowed, begun := false, time.Now()
	for {
		line, err := frames.ReadBytes('\n')
		if err != nil {
			return err
		}
		var frame struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := json.Unmarshal(line, &frame); err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		if frame.Type != "BOOKMARK" && frame.Type != "ERROR" && p.about(frame.Object) {
			if p.plant == omit || p.plant == swallow && !swallowed && time.Since(begun) >= p.after {
				swallowed = true
				continue
			}
			if p.plant == alter {
				if frame.Object, err = p.spoilAnswer(frame.Object); err != nil {
					return err
				}
				if line, err = json.Marshal(frame); err != nil {
					return err
				}
				line = append(line, '\n')
			}
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

// about says whether an object, or the first row of a table, has the planter's name.
func (p *planter) about(object []byte) bool {
	var o struct {
		Metadata struct{ Name string }
		Rows     []struct {
			Object struct{ Metadata struct{ Name string } }
		}
	}
	if json.Unmarshal(object, &o) != nil {
		return false
	}
	return o.Metadata.Name == p.name || len(o.Rows) > 0 && o.Rows[0].Object.Metadata.Name == p.name
}

// spoilAnswer plants the fault into an object, a list or a table.
func (p *planter) spoilAnswer(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	for _, field := range []string{"items", "rows"} {
		parts, ok := tree[field].([]any)
		if !ok {
			continue
		}
		var kept []any
		for _, part := range parts {
			if keep := p.spoilPart(part); keep {
				kept = append(kept, part)
			}
		}
		tree[field] = kept
	}
	p.spoilPart(tree)
	return json.Marshal(tree)
}

// spoilPart alters an object or a row in place; keep is false if it is to be left out.
func (p *planter) spoilPart(part any) (keep bool) {
	o, _ := part.(map[string]any)
	meta, _ := o["metadata"].(map[string]any)
	cells, isRow := o["cells"].([]any)
	if isRow {
		inner, _ := o["object"].(map[string]any)
		meta, _ = inner["metadata"].(map[string]any)
	}
	if meta["name"] != p.name {
		return true
	}
	switch {
	case p.plant == omit:
		return false
	case p.plant == alter && isRow && len(cells) > 2:
		cells[2] = "planted"
	case p.plant == alter:
		meta["generateName"] = "planted-"
	}
	return true
}
