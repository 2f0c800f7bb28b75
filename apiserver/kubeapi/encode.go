package kubeapi

import (
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// encoder writes objects of one kind in one form. It is for one goroutine.
type encoder struct {
	*request
	api   *API
	form  form
	root  *mirror.Root // whose columns Tables have
	codec *wire.Codec
	cells *clock // of Tables
}

func (a *API) encoder(q *request, f form, root *mirror.Root) *encoder {
	return &encoder{request: q, api: a, form: f, root: root, codec: q.kind.codec(f.shape)}
}

// message returns the object's protobuf message, made once.
func (e *encoder) message(o *mirror.Object) ([]byte, error) {
	value, err := e.api.forms.of(made{form: "protobuf" + string(e.form.shape), of: o.Sum}, func() (any, int, error) {
		message, err := e.codec.Protobuf(o.Body)
		return message, len(message), err
	})
	if errors.Is(err, wire.ErrNoProtobuf) && e.form.shape == shapeObject {
		if !e.kind.lossy.Swap(true) {
			e.api.log.Warn("an object has fields that this version of krm does not know: its kind is served as JSON instead of protobuf",
				"resource", e.resource().String(), "key", o.Key.String(), "err", err)
		}
	}
	if err != nil {
		return nil, err
	}
	return value.([]byte), nil
}

// one writes a single object.
func (e *encoder) one(t *text, o *mirror.Object) error {
	switch {
	case e.form.media == mediaProtobuf:
		message, err := e.message(o)
		if err != nil {
			return err
		}
		t.addBytes(e.codec.AppendObject(make([]byte, 0, e.codec.ObjectLength(len(message))), message))
	case e.form.shape == shapeTable:
		return e.table(t, wire.ListMeta{Version: string(o.Version)}, nil, o)
	case e.form.shape == shapeMetadata:
		t.add(metadataHead)
		t.addBytes(o.Metadata())
		t.add("}")
	case !e.projection.Empty():
		t.addBytes(e.projection.Append(nil, o.Body))
	default:
		t.addBytes(o.Body)
	}
	return nil
}

const metadataHead = `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":`

// items writes objects as a list has them, with commas between them where there
// are commas.
func (e *encoder) items(t *text, objects []*mirror.Object) error {
	if e.form.media == mediaProtobuf {
		heads := make([]byte, 0, 6*len(objects))
		for _, o := range objects {
			message, err := e.message(o)
			if err != nil {
				return err
			}
			from := len(heads)
			heads = wire.AppendItemHead(heads, len(message))
			t.addBytes(heads[from:len(heads):len(heads)])
			t.addBytes(message)
		}
		return nil
	}
	for i, o := range objects {
		if i > 0 {
			t.add(",")
		}
		if e.form.shape != shapeObject || !e.projection.Empty() {
			if err := e.one(t, o); err != nil {
				return err
			}
			continue
		}
		t.add("{")
		t.addBytes(o.Body[e.codec.Item(o.Body):])
	}
	return nil
}

// list writes a whole list.
func (e *encoder) list(meta wire.ListMeta, columns []byte, objects []*mirror.Object) (t text, err error) {
	if e.form.shape == shapeTable {
		err := e.table(&t, meta, columns, objects...)
		t.add("\n")
		return t, err
	}
	items := text{parts: make([]string, 0, 3*len(objects)+2)}
	items.parts = items.parts[:1] // the head, whose length depends on the items
	if err := e.items(&items, objects); err != nil {
		return t, err
	}
	head, tail := e.ends(meta, items.length)
	items.parts[0] = head
	items.length += len(head)
	items.add(tail)
	return items, nil
}

// ends are what stands before and behind the items of a list.
func (e *encoder) ends(meta wire.ListMeta, items int) (head, tail string) {
	if e.form.media == mediaProtobuf {
		return alias(e.codec.AppendListHead(nil, meta, items)), wire.ListTail
	}
	return alias(e.codec.AppendListHeadJSON(nil, meta)), alias(e.codec.AppendListTailJSON(nil, meta))
}

// worthGzip is how long an answer must be to be compressed; it is kube-apiserver's figure.
const worthGzip = 128 << 10

// zip is list, compressed. Runs of objects are compressed once and put together
// again; where a run ends depends on the objects' names alone, so a change spoils its own run
// and no other. length is that of the text.
func (e *encoder) zip(meta wire.ListMeta, objects []*mirror.Object) (member wire.Member, length int, err error) {
	var chunks []wire.Chunk
	for run := range runs(objects) {
		chunk, err := e.chunk(run)
		if err != nil {
			return member, 0, err
		}
		chunks = append(chunks, chunk)
		length += int(chunk.Length)
	}
	head, tail := e.ends(meta, length)
	var zipped wire.Gzip
	zipped.Literal([]byte(head))
	for i, chunk := range chunks {
		if i > 0 && e.form.media != mediaProtobuf {
			zipped.Literal([]byte(","))
		}
		zipped.Chunk(chunk)
	}
	zipped.Literal([]byte(tail))
	return zipped.Finish(), length + len(head) + len(tail), nil
}

func (e *encoder) chunk(run []*mirror.Object) (wire.Chunk, error) {
	var sum mirror.Sum
	for _, o := range run {
		sum = sum.Add(o.Sum)
	}
	key := made{form: "gzip" + string(e.form.media) + string(e.form.shape), of: sum}
	value, err := e.api.forms.of(key, func() (any, int, error) {
		var t text
		if err := e.items(&t, run); err != nil {
			return nil, 0, err
		}
		chunk := e.api.compressor.Compress(t.bytes())
		return chunk, len(chunk.Data), nil
	})
	if err != nil {
		return wire.Chunk{}, err
	}
	return value.(wire.Chunk), nil
}

const (
	runLength = 64  // objects of a run on average
	runMost   = 256 // and at most
)

// runs cuts objects into runs.
func runs(objects []*mirror.Object) func(yield func([]*mirror.Object) bool) {
	return func(yield func([]*mirror.Object) bool) {
		for from := 0; from < len(objects); {
			to := from + 1
			for to < len(objects) && to-from < runMost && xxhash.Sum64String(objects[to].Path())%runLength != 0 {
				to++
			}
			if !yield(objects[from:to]) {
				return
			}
			from = to
		}
	}
}
