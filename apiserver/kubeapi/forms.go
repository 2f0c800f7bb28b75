package kubeapi

import (
	"context"
	"math"

	"github.com/maypok86/otter/v2"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// made is a form of objects that costs something to make.
type made struct {
	form    string
	version object.Version // beside what the objects say
	of      mirror.Sum     // the objects
}

// forms keeps what was made, so that it is made once however many ask for it, up to
// a number of bytes. Objects are named by what they say, so nothing here keeps an
// object in memory that has changed since.
type forms struct {
	known *otter.Cache[made, weighed]
}

// weighed is something that was made, and the bytes that it takes.
type weighed struct {
	value any
	bytes int
}

// formOverhead is about what an entry takes beside its value.
const formOverhead = 200

func newForms(most int64) *forms {
	return &forms{otter.Must(&otter.Options[made, weighed]{
		MaximumWeight: uint64(most),
		Weigher: func(_ made, w weighed) uint32 {
			return uint32(min(w.bytes+formOverhead, math.MaxUint32))
		},
	})}
}

// of returns what make makes of key, made before or now. Errors are not kept.
func (f *forms) of(key made, make func() (value any, bytes int, err error)) (any, error) {
	w, err := f.known.Get(context.Background(), key, otter.LoaderFunc[made, weighed](func(context.Context, made) (weighed, error) {
		value, bytes, err := make()
		return weighed{value, bytes}, err
	}))
	return w.value, err
}

// Bytes is about how much memory the forms take.
func (f *forms) Bytes() int64 { return int64(f.known.WeightedSize()) }
