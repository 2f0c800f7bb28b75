package kubeapi

import (
	"context"
	"errors"
	"iter"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// page is a part of a list, perhaps all of it.
type page struct {
	root    *mirror.Root
	doubt   error // why root may be older than it should be; nil if it is not
	objects []*mirror.Object
	meta    wire.ListMeta
}

// list answers with the objects that the request asks for. Waiting for a state and
// sending what is stored cost nothing; what comes between has its turn.
func (a *API) list(q *request) error {
	ctx := q.Request.Context()
	p, after, err := a.begin(ctx, q)
	if err == nil {
		err = q.checkShape()
	}
	if err != nil {
		return err
	}
	var reply *reply
	err = a.inTurn(func() error {
		if err := a.fill(ctx, q, &p, after); err != nil {
			return err
		}
		a.describe(q.Writer.Header(), q.mirror, p.root, p.doubt)
		// The first of several pages has a token in it, which does not hold for ever.
		whole := q.options.Continue == "" && p.meta.Continue == "" && !q.exact()
		if whole && a.unchanged(q, p.root, q.scope(p.root)) {
			return nil
		}
		return a.firstForm(q, func(f form) (err error) {
			reply, err = a.encodeList(q, f, p)
			return err
		})
	})
	if err != nil || reply == nil {
		return err
	}
	a.send(q, *reply)
	return nil
}

// inTurn does something that costs, unless too many do already.
func (a *API) inTurn(do func() error) error {
	if !a.lists.TryAcquire(1) {
		return tooManyLists()
	}
	defer a.lists.Release(1)
	return do()
}

// begin finds the state, and the path behind which the page begins.
func (a *API) begin(ctx context.Context, q *request) (p page, after string, err error) {
	switch o := q.options; {
	case o.Continue != "":
		p.root, after, err = a.resume(ctx, q)
	case q.exact():
		var version object.Version
		if version, err = parseVersion(o.ResourceVersion); err == nil {
			p.root, err = q.at(ctx, version)
		}
	default:
		p.root, p.doubt, err = q.state(ctx, o.ResourceVersion)
	}
	return p, after, err
}

// fill finds the page's objects.
func (a *API) fill(ctx context.Context, q *request, p *page, after string) (err error) {
	more := false
	if p.objects, more, err = q.choose(ctx, p.root, after); err != nil {
		return err
	}
	p.meta.Version = string(p.root.Freshness.Streamed)
	if !more {
		return nil
	}
	p.meta.Continue, err = a.signer.encode(ctx, token{
		Lineage: p.root.Lineage, Version: p.root.Freshness.Streamed, Path: p.objects[len(p.objects)-1].Path(), Query: q.identity(),
	})
	if err != nil {
		return err
	}
	q.mirror.Keep(p.root)
	if q.filter.everything() {
		remaining := q.remaining(p.root, after) - int64(len(p.objects))
		p.meta.Remaining = &remaining
	}
	return nil
}

// scope is the sum of all that the answer may depend on: of one object, if the request
// can bring no other.
func (q *request) scope(root *mirror.Root) mirror.Sum {
	name, ok := q.filter.name()
	if !ok || q.namespace == "" && q.resource().Namespaced {
		return root.Scope(q.namespace).Sum
	}
	if o, found := root.Get(object.Key{Namespace: q.namespace, Name: name}); found {
		return o.Sum
	}
	return mirror.Sum{}
}

// resume finds the state that the request's token is of, and where to go on in it.
func (a *API) resume(ctx context.Context, q *request) (root *mirror.Root, after string, err error) {
	if v := q.options.ResourceVersion; v != "" && v != "0" {
		return nil, "", BadRequest("specifying resource version is not allowed when using continue")
	}
	t, err := a.signer.decode(ctx, q.options.Continue, q.identity())
	if err != nil {
		return nil, "", err
	}
	if present := q.mirror.Root(); present != nil && present.Lineage != t.Lineage {
		return nil, "", tooOldToken()
	}
	root, err = q.at(ctx, t.Version)
	if err == nil && root.Lineage != t.Lineage || apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
		return nil, "", tooOldToken()
	}
	return root, t.Path, err
}

// choose returns the objects of root, behind the path, that the request asks for, at
// most as many as its limit, in the API server's order; more says that others follow.
//
// It ends with ctx: a path may cost milliseconds an object.
func (q *request) choose(ctx context.Context, root *mirror.Root, after string) (chosen []*mirror.Object, more bool, err error) {
	f, limit := &q.filter, q.limit()
	if limit == 0 {
		limit = root.Len()
	}
	if name, ok := f.name(); ok && (q.namespace != "" || !q.resource().Namespaced) {
		o, found := root.Get(object.Key{Namespace: q.namespace, Name: name})
		if found && o.Path() > after && f.matches(o) {
			chosen = append(chosen, o)
		}
		return chosen, false, nil
	}
	if f.everything() {
		chosen = make([]*mirror.Object, 0, min(limit, root.Scope(q.namespace).Objects))
	}
	for o := range root.After(q.namespace, after) {
		if !f.where.Empty() && ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if !f.matches(o) {
			continue
		}
		if len(chosen) == limit {
			return chosen, true, nil
		}
		chosen = append(chosen, o)
	}
	return q.sort(chosen), false, nil
}

// sort orders as the request asks for, if it does.
func (q *request) sort(objects []*mirror.Object) []*mirror.Object {
	if q.order.Empty() {
		return objects
	}
	sorted := make([]*mirror.Object, len(objects))
	for i, from := range q.order.Sort(len(objects), func(i int) []byte { return objects[i].Body }) {
		sorted[i] = objects[from]
	}
	return sorted
}

// remaining counts the objects behind the path.
func (q *request) remaining(root *mirror.Root, after string) (n int64) {
	if after == "" {
		return int64(root.Scope(q.namespace).Objects)
	}
	return count(root.After(q.namespace, after))
}

func count(objects iter.Seq[*mirror.Object]) (n int64) {
	for range objects {
		n++
	}
	return n
}

// encodeList writes the page in one form, compressed if that is accepted and pays.
func (a *API) encodeList(q *request, f form, p page) (*reply, error) {
	e := a.encoder(q, f, p.root)
	asStored := f.shape != shapeTable && !f.pretty && f.media != mediaYAML && q.projection.Empty()
	if asStored && headers.AcceptsGzip(q.Request) && size(p.objects) >= worthGzip {
		member, length, err := e.zip(p.meta, p.objects)
		if err != nil {
			return nil, err
		}
		if length >= worthGzip {
			return zipped(f, member), nil
		}
	}
	t, err := e.list(p.meta, columnsOf(p.root), p.objects)
	if err != nil {
		return nil, err
	}
	return a.reply(q, f, t)
}

// size is how many bytes the objects have as JSON.
func size(objects []*mirror.Object) (n int) {
	for _, o := range objects {
		n += len(o.Body)
	}
	return n
}

// get answers with one object.
func (a *API) get(q *request) error {
	root, doubt, err := q.state(q.Request.Context(), q.values.Get("resourceVersion"))
	if err != nil {
		return err
	}
	a.describe(q.Writer.Header(), q.mirror, root, doubt)
	o, ok := root.Get(object.Key{Namespace: q.namespace, Name: q.name})
	if !ok {
		return apierrors.NewNotFound(groupResource(q.resource()), q.name)
	}
	if err := q.checkShape(); err != nil {
		return err
	}
	if a.unchanged(q, root, o.Sum) {
		return nil
	}
	var answer *reply
	err = a.firstForm(q, func(f form) (err error) {
		answer, err = a.encodeOne(q, f, root, o)
		return err
	})
	if err == nil {
		a.send(q, *answer)
	}
	return err
}

func (a *API) encodeOne(q *request, f form, root *mirror.Root, o *mirror.Object) (*reply, error) {
	var t text
	e := a.encoder(q, f, root)
	var err error
	if f.shape == shapeTable {
		err = e.table(&t, wire.ListMeta{Version: string(o.Version)}, columnsOf(root), o)
	} else {
		err = e.one(&t, o)
	}
	if err != nil {
		return nil, err
	}
	if f.media == mediaJSON && !f.pretty {
		t.add("\n")
	}
	return a.reply(q, f, t)
}

// firstForm encodes in the first of the accepted forms that the objects have.
func (a *API) firstForm(q *request, encode func(form) error) (err error) {
	for _, f := range q.forms {
		if err = encode(f); !errors.Is(err, wire.ErrNoProtobuf) {
			return err
		}
	}
	return notAcceptable("%v has fields that its protobuf form lacks in this version of krm: accept application/json", q.resource())
}
