package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/faultproxy"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// quietPieces are quietObjects objects of several kinds that no controller touches
// once they are there.
func (w *world) quietPieces(what string) (pieces []piece) {
	for i := range quietObjects {
		space, name := w.space(i), w.name(what, i)
		switch {
		case i < 30:
			pieces = append(pieces, piece{widgets, newWidget(space, name, i, "quiet")})
		case i < 60:
			pieces = append(pieces, piece{services, newService(space, name)})
		case i < 80:
			pieces = append(pieces, piece{claims, newClaim(space, name)})
		case i < 90:
			pieces = append(pieces, piece{deployments, newDeployment(space, name, 0)})
		default:
			pieces = append(pieces, piece{namespaces, newNamespace(name)})
		}
	}
	return pieces
}

// verifierStory takes from the stream, without a trace, the creation of 100
// objects, the update of 100 others and the deletion of 100 more. KRM must be wrong
// about exactly these until it verifies, and must then find and mend exactly these.
func verifierStory(ctx context.Context, h *house, r *result) error {
	w := h.world
	made, changed, removed := w.quietPieces("made"), w.quietPieces("changed"), w.quietPieces("removed")
	if err := w.createAll(ctx, slices.Concat(changed, removed)); err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	before, _, err := h.drift(ctx)
	if err != nil {
		return err
	}
	if err := h.changeUnseen(ctx, made, changed, removed); err != nil {
		return err
	}
	if err := h.wrongAboutExactly(ctx, r, made, removed, changed); err != nil {
		return err
	}
	if err := h.verify(ctx, false); err != nil {
		return err
	}
	after, _, err := h.drift(ctx)
	if err != nil {
		return err
	}
	r.missing, r.stale, r.ghost = after.Missing-before.Missing, after.Stale-before.Stale, after.Ghost-before.Ghost
	h.say("verification found missing=%d stale=%d ghost=%d", r.missing, r.stale, r.ghost)
	if r.missing != quietObjects || r.stale != quietObjects || r.ghost != quietObjects {
		r.fault("verification found missing=%d stale=%d ghost=%d, want %d of each", r.missing, r.stale, r.ghost, quietObjects)
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	h.proxy.Frames.Swallow(nil)
	return h.mustEqual(ctx, r, "after verification")
}

// changeUnseen makes the changes while their frames are swallowed, and returns once
// the API server shows them all and KRM has seen everything else.
func (h *house) changeUnseen(ctx context.Context, made, changed, removed []piece) error {
	w := h.world
	var refs []faultproxy.Ref
	for _, p := range slices.Concat(made, changed, removed) {
		refs = append(refs, faultproxy.Ref{Resource: p.kind.name(), Key: p.key()})
	}
	h.proxy.Frames.Swallow(refs)
	if err := w.createAll(ctx, made); err != nil {
		return err
	}
	err := each(ctx, changed, func(ctx context.Context, p piece) error {
		_, err := w.patch(ctx, p.kind, p.key(), `{"metadata":{"labels":{"krm.test/changed":"unseen"}}}`)
		return err
	})
	if err != nil {
		return err
	}
	if err := each(ctx, removed, func(ctx context.Context, p piece) error { return w.delete(ctx, p.kind, p.key()) }); err != nil {
		return err
	}
	err = process.Poll(ctx, time.Minute, "the deletions", func(ctx context.Context) error {
		return each(ctx, removed, func(ctx context.Context, p piece) error {
			there, err := w.exists(ctx, p.kind, p.key())
			if err == nil && there {
				err = fmt.Errorf("%s %s is still there", p.kind.name(), p.key())
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	if n := h.proxy.Frames.Swallowed(); n != len(refs) {
		return fmt.Errorf("the proxy swallowed frames of %d objects, want %d", n, len(refs))
	}
	return nil
}

// wrongAboutExactly compares, and wants exactly these objects to differ.
func (h *house) wrongAboutExactly(ctx context.Context, r *result, missing, extra, different []piece) error {
	c, err := h.compareAll(ctx)
	if err != nil {
		return err
	}
	n, m, o := c.counts()
	h.say("before verification: %d objects, of which KRM lacks %d, still has %d that are gone, and tells %d differently", c.objects, n, m, o)
	for _, want := range []struct {
		what   string
		pieces []piece
		got    func(kind) []string
	}{
		{"missing", missing, func(k kind) []string { return c.diffs[k].Missing }},
		{"extra", extra, func(k kind) []string { return c.diffs[k].Extra }},
		{"different", different, func(k kind) []string { return c.diffs[k].Different }},
	} {
		for _, k := range kinds() {
			var keys []string
			for _, p := range want.pieces {
				if p.kind == k {
					keys = append(keys, p.key())
				}
			}
			slices.Sort(keys)
			if !slices.Equal(keys, want.got(k)) {
				r.fault("%s %s before verification: %d objects, want %d", k.name(), want.what, len(want.got(k)), len(keys))
			}
		}
	}
	return nil
}
