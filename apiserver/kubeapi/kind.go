package kubeapi

import (
	"sync/atomic"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// kind is what the API knows of one resource's objects, whatever they are.
type kind struct {
	resource   object.Resource
	whole      *wire.Codec
	metadata   *wire.Codec
	selectable func() []string // of a custom resource: the fields that its definition names

	// lossy says that an object had no protobuf form: a server newer than we are knows
	// fields that we do not. Its kind is served as JSON then.
	lossy atomic.Bool
}

// kindOf returns the kind of r, the same at each call.
func (a *API) kindOf(r object.Resource) *kind {
	if known, found := a.kinds.Load(r); found {
		return known.(*kind)
	}
	k := &kind{resource: r, whole: wire.NewCodec(r), metadata: a.metadata, selectable: func() []string {
		return a.options.Discovery.SelectableFields(r.Group, r.Version, r.Kind)
	}}
	known, _ := a.kinds.LoadOrStore(r, k)
	return known.(*kind)
}

// codec is that of answers of the shape.
func (k *kind) codec(s shape) *wire.Codec {
	if s == shapeMetadata {
		return k.metadata
	}
	return k.whole
}

func (k *kind) hasProtobuf() bool { return k.whole.Typed() && !k.lossy.Load() }
