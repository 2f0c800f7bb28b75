package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// plantedStory proves that the comparison can fail: it alters one stored object and
// breaks another behind KRM's back, and the comparison must name these two. The
// next full verification must mend both.
func plantedStory(ctx context.Context, h *house, r *result) error {
	altered := piece{widgets, newWidget(h.world.space(1), h.world.name("planted", 1), 1, noise(400))}
	broken := piece{widgets, newWidget(h.world.space(2), h.world.name("planted", 2), 2, noise(400))}
	if err := h.world.createAll(ctx, []piece{altered, broken}); err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	before, _, err := h.drift(ctx)
	if err != nil {
		return err
	}
	if err := h.plant(ctx, altered.key(), broken.key()); err != nil {
		return fmt.Errorf("plant a fault: %w", err)
	}
	if err := h.krm["apiserver"].Restart(5*time.Second, nil); err != nil { // its memory is right
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	faults := len(r.faults)
	if err := h.wrongAboutExactly(ctx, r, []piece{broken}, nil, []piece{altered}); err != nil {
		return err
	}
	if len(r.faults) > faults {
		return errors.New("the comparison does not find exactly what was planted")
	}
	r.planted = "found"
	if err := h.verify(ctx, true); err != nil {
		return err
	}
	after, _, err := h.drift(ctx)
	if err != nil {
		return err
	}
	if n := after.Altered - before.Altered; n != 2 || after.Total()-before.Total() != 2 {
		r.fault("full verification found %d altered objects and %d wrong ones in all, want 2", n, after.Total()-before.Total())
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	return h.mustEqual(ctx, r, "after full verification")
}

// plant changes the stored bytes of two widgets. The first one can still be read
// and says something else at the same version; the second one cannot be read.
func (h *house) plant(ctx context.Context, altered, broken string) error {
	raw := redis.NewClient(&redis.Options{Addr: h.redis.Addr()})
	defer raw.Close()
	const hash = "krm:{widgets." + widgetGroup + "}:snapshot"
	value, err := raw.HGet(ctx, hash, altered).Bytes()
	if err != nil {
		return fmt.Errorf("read %s: %w", altered, err)
	}
	if err := h.alter(ctx, raw, hash, altered, value); err != nil {
		return err
	}
	if value, err = raw.HGet(ctx, hash, broken).Bytes(); err != nil {
		return fmt.Errorf("read %s: %w", broken, err)
	}
	return raw.HSet(ctx, hash, broken, value[:len(value)*2/3]).Err()
}

// alter flips single bits of the stored value until it still opens, but with
// another body. How bodies are stored is the store's affair.
func (h *house) alter(ctx context.Context, raw *redis.Client, hash, key string, value []byte) error {
	stored, err := store.Connect(ctx, store.Options{Addrs: []string{h.redis.Addr()}}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer stored.Close()
	resource := object.Resource{Group: widgetGroup, Version: "v1", Name: widgets.Resource, Namespaced: true}
	feed := stored.Feed(resource)
	truth, err := readStored(ctx, feed, key)
	if err != nil {
		return err
	}
	for at := len(value) - 1; at > len(value)/4; at-- {
		for bit := range 8 {
			other := slices.Clone(value)
			other[at] ^= 1 << bit
			if err := raw.HSet(ctx, hash, key, other).Err(); err != nil {
				return err
			}
			got, err := readStored(ctx, feed, key)
			if err == nil && alteredOnly(truth, got) {
				h.say("altered byte %d of the %d stored bytes of %s", at, len(value), key)
				return nil
			}
		}
	}
	return errors.New("no bit could be flipped so that the object still opens")
}

func readStored(ctx context.Context, feed *store.Feed, key string) (record object.Record, err error) {
	for r, err := range feed.Scan(ctx) {
		if err != nil {
			return record, err
		}
		if r.Key.String() == key {
			record = r
		}
	}
	if record.UID == "" {
		return record, fmt.Errorf("%s is not in the snapshot", key)
	}
	return record, nil
}

// alteredOnly says whether got is a valid object of the same identity and version
// as truth with another note.
func alteredOnly(truth, got object.Record) bool {
	type widget struct {
		Metadata struct {
			Namespace, Name, UID, ResourceVersion string
			Annotations                           map[string]string
		}
	}
	var a, b widget
	if json.Unmarshal(truth.Body, &a) != nil || json.Unmarshal(got.Body, &b) != nil || truth.Head.Version != got.Head.Version {
		return false
	}
	x, y := a.Metadata, b.Metadata
	return x.Namespace == y.Namespace && x.Name == y.Name && x.UID == y.UID && x.ResourceVersion == y.ResourceVersion &&
		x.Annotations["note"] != y.Annotations["note"]
}

// noise is text that compresses badly, so that most bits of its stored form are
// bits of the text.
func noise(length int) string {
	var text strings.Builder
	state := uint32(2463534242)
	for range length {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		text.WriteByte("0123456789abcdef"[state%16])
	}
	return text.String()
}
