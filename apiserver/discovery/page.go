package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"sigs.k8s.io/yaml"
)

// form is one representation of a page.
type form string

const (
	formJSON   form = "application/json"
	formPretty form = "application/json;pretty=1"
	formYAML   form = "application/yaml"
	formProto  form = "application/vnd.kubernetes.protobuf"
	formV2     form = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	formV3     form = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
)

// gzipFrom is from how many bytes on an answer is compressed for who takes it so.
const gzipFrom = 8 << 10

// page is one document as it is served. What it takes to make it is done once,
// when it is first asked for; a failure is forgotten, so that the next one tries again.
type page struct {
	etag string
	make func() (text, error)

	mu    sync.Mutex
	json  []byte
	forms map[form]*answer
}

// answer is a page in one form.
type answer struct {
	body    []byte
	gzipped []byte // nil: not worth it
}

func newPage(etag string, produce func() (text, error)) *page {
	return &page{etag: etag, make: produce, forms: map[form]*answer{}}
}

// fixed is a page that is made already.
func fixed(etag string, value text) *page {
	return newPage(etag, func() (text, error) { return value, nil })
}

// in returns the page in form f.
func (p *page) in(f form) (*answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.forms[f]; a != nil {
		return a, nil
	}
	if p.json == nil {
		value, err := p.make()
		if err != nil {
			return nil, err
		}
		p.json = value
	}
	body, err := convert(p.json, f)
	if err != nil {
		return nil, fmt.Errorf("convert to %s: %w", f, err)
	}
	a := &answer{body: body}
	if len(body) >= gzipFrom {
		if a.gzipped, err = compressed(body); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
	}
	p.forms[f] = a
	return a, nil
}

// convert makes form f of a JSON document.
func convert(value []byte, f form) ([]byte, error) {
	switch f {
	case formJSON:
		return value, nil
	case formPretty:
		var b bytes.Buffer
		if err := json.Indent(&b, bytes.TrimSpace(value), "", "  "); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	case formYAML:
		return yaml.JSONToYAML(value)
	case formProto:
		return discoveryProto(value)
	case formV2:
		return openAPIv2Proto(value)
	case formV3:
		return openAPIv3Proto(value)
	}
	panic("BUG: no such form: " + string(f))
}

func compressed(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
