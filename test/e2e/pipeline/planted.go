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

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// plantedStory proves that the comparison can fail: it alters one stored object
// behind KRM's back, and the comparison must name exactly this one. The next full
// verification must mend it.
func plantedStory(ctx context.Context, h *house, r *result) error {
	victim := piece{widgets, newWidget(h.world.space(1), h.world.name("planted", 1), 1, noise(400))}
	err := h.plant(ctx, r, victim, nil, []piece{victim}, func(raw *redis.Client, value []byte) error {
		return h.alter(ctx, raw, victim.key(), value)
	})
	if err == nil {
		r.planted = "found"
	}
	return errors.Join(err, h.mend(ctx, r))
}

// brokenStory makes one stored object unreadable. All others must be served as
// ever, and the next full verification must mend it.
func brokenStory(ctx context.Context, h *house, r *result) error {
	victim := piece{widgets, newWidget(h.world.space(2), h.world.name("broken", 2), 2, noise(400))}
	err := h.plant(ctx, r, victim, []piece{victim}, nil, func(raw *redis.Client, value []byte) error {
		return raw.HSet(ctx, widgetHash, victim.key(), value[:len(value)*2/3]).Err()
	})
	return errors.Join(err, h.mend(ctx, r))
}

// widgetHash is where the store keeps the widgets.
const widgetHash = "krm:{widgets." + widgetGroup + "}:snapshot"

// plant creates victim, lets spoil change what is stored of it, makes KRM's API
// server read that, and wants the comparison to find exactly missing and different.
func (h *house) plant(ctx context.Context, r *result, victim piece, missing, different []piece, spoil func(*redis.Client, []byte) error) error {
	if err := h.world.create(ctx, victim.kind, victim.object); err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	raw := redis.NewClient(&redis.Options{Addr: h.redis.Addr()})
	defer raw.Close()
	value, err := raw.HGet(ctx, widgetHash, victim.key()).Bytes()
	if err != nil {
		return fmt.Errorf("read what is stored of %s: %w", victim.key(), err)
	}
	h.krm["verifier"].Pause(10 * time.Second)
	if err := spoil(raw, value); err != nil {
		return fmt.Errorf("spoil %s: %w", victim.key(), err)
	}
	if err := h.krm["apiserver"].Restart(5*time.Second, nil); err != nil { // its memory is right
		return err
	}
	if err := h.catchUp(ctx, 30*time.Second); err != nil {
		return err
	}
	faults := len(r.faults)
	if err := h.wrongAboutExactly(ctx, r, missing, nil, different); err != nil {
		return err
	}
	if len(r.faults) > faults {
		return errors.New("the comparison does not find exactly what was planted")
	}
	return nil
}

// mend brings the verifier back, verifies in full, wants exactly one altered object,
// and equality after it.
func (h *house) mend(ctx context.Context, r *result) error {
	before, _, err := h.drift(ctx)
	if err != nil {
		return err
	}
	if err := h.krm["verifier"].Restart(10*time.Second, nil); err != nil {
		return err
	}
	if err := h.verify(ctx, true); err != nil {
		return err
	}
	// The round that was waited for may have been the verifier's first, which need
	// not be a full one.
	var after client.Drift
	err = process.Poll(ctx, time.Minute, "the full verification", func(ctx context.Context) (err error) {
		after, _, err = h.drift(ctx)
		if err == nil && after.Altered == before.Altered {
			err = errors.New("no altered object was found")
		}
		return err
	})
	if err != nil {
		return err
	}
	if n := after.Total() - before.Total(); n != 1 || after.Altered-before.Altered != 1 {
		r.fault("full verification found %+v, before it was %+v: want one altered object", after, before)
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	return h.mustEqual(ctx, r, "after full verification")
}

// alter flips single bits of the stored value until it still opens, but with
// another body. How bodies are stored is the store's affair.
func (h *house) alter(ctx context.Context, raw *redis.Client, key string, value []byte) error {
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
			if err := raw.HSet(ctx, widgetHash, key, other).Err(); err != nil {
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
	if json.Unmarshal(truth.Body, &a) != nil || json.Unmarshal(got.Body, &b) != nil || truth.Version != got.Version {
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
