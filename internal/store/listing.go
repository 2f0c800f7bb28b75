package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// uploadTTL is how long chunks live that a verifier has left half-way.
const uploadTTL = 2 * time.Minute

// Listing is the verifier's end of a resource. It is safe for concurrent use.
type Listing struct {
	*writer
	codec *codec

	mu     sync.Mutex // of packer
	packer *packer
	dict   string // its dictionary's name in the log's meta
}

// Listing returns the verifier's end of resource. It does no I/O.
func (s *Store) Listing(resource object.Resource) *Listing {
	return &Listing{writer: s.writer(resource, object.RoleVerifier), codec: s.codec(resource)}
}

// Acquire blocks until the verifier's lease is ours, and reports standby
// meanwhile. Call it again after ErrFenced.
func (v *Listing) Acquire(ctx context.Context) error { return v.acquire(ctx) }

// Beat renews the lease and takes the wishes for the verifier. Call it every
// third of the lease's time to live.
func (v *Listing) Beat(ctx context.Context) ([]object.Ask, error) {
	return v.beat(ctx, object.AskVerify, object.AskFull)
}

// LogState reads where the log stands.
func (v *Listing) LogState(ctx context.Context) (object.LogState, error) {
	state, _, err := v.store.logState(ctx, v.keys, v.resource)
	return state, err
}

// Put replaces the statement before in one step, and forgets its wants and
// bodies. A reader sees the one or the other, never parts of both. It may be
// called again with the same statement after an error.
func (v *Listing) Put(ctx context.Context, listed object.Listed) error {
	if listed.ID == "" {
		panic("BUG: put a Listed without an ID")
	}
	head, chunks, err := encodeListed(listed)
	if err != nil {
		return fmt.Errorf("put listed of %v: %w", v.resource, err)
	}
	upload := v.keys.upload(listed.ID)
	if err := v.upload(ctx, upload, chunks); err != nil {
		return err
	}
	return v.store.call(ctx, "put listed", v.resource.String(), callTimeout, func(ctx context.Context) error {
		k := v.keys
		_, _, err := v.store.run(ctx, putScript,
			[]string{k.fence(v.role), k.listed, k.listedMeta, k.wants, k.bodies, upload},
			v.fence(), listed.ID, head, len(chunks))
		return err
	})
}

// upload writes the chunks to a key of their own, from scratch.
func (v *Listing) upload(ctx context.Context, key string, chunks [][]byte) error {
	return v.store.call(ctx, "upload listed", v.resource.String(), scanTimeout, func(ctx context.Context) error {
		if err := v.store.client.Unlink(ctx, key).Err(); err != nil {
			return err
		}
		for _, chunk := range chunks {
			_, err := v.store.client.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.RPush(ctx, key, chunk)
				p.PExpire(ctx, key, uploadTTL)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Wants returns the keys whose bodies the aggregator wants and has not got yet,
// in no order, and whether it is done with listedID: has adopted or refused it.
// While it has not decided, and for a statement that was replaced, there are none.
func (v *Listing) Wants(ctx context.Context, listedID string) (keys []object.Key, adopted bool, err error) {
	err = v.store.call(ctx, "read wants", v.resource.String(), scanTimeout, func(ctx context.Context) error {
		k := v.keys
		_, rest, err := v.store.run(ctx, wantsScript, []string{k.listedMeta, k.wants, k.snapshotMeta}, listedID)
		if err != nil {
			return err
		}
		if len(rest) != 2 {
			return fmt.Errorf("the script answered %v", rest)
		}
		adopted = rest[0] == int64(1)
		fields, _ := rest[1].([]any)
		for _, field := range fields {
			text, _ := field.(string)
			keys = append(keys, object.ParseKey(text))
		}
		return nil
	})
	return keys, adopted, err
}

// PutBodies packs records and hands them over; several calls add up. What
// belongs to a statement that was replaced is dropped.
func (v *Listing) PutBodies(ctx context.Context, listedID string, records []object.Record) error {
	if len(records) == 0 {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.preparePacker(ctx); err != nil {
		return err
	}
	args := []any{v.fence(), listedID}
	for _, r := range records {
		packed := object.Packed{Head: r.Head, Data: v.packer.pack(nil, r)}
		args = append(args, r.Key.String(), appendObject(nil, packed))
	}
	return v.store.call(ctx, "put bodies", v.resource.String(), scanTimeout, func(ctx context.Context) error {
		k := v.keys
		_, _, err := v.store.run(ctx, bodiesScript, []string{k.fence(v.role), k.listedMeta, k.wants, k.bodies}, args...)
		return err
	})
}

// preparePacker follows the log's dictionary; without one it packs without.
func (v *Listing) preparePacker(ctx context.Context) error {
	var name string
	err := v.store.call(ctx, "read dictionary", v.resource.String(), callTimeout, func(ctx context.Context) error {
		values, err := v.store.client.HMGet(ctx, v.keys.logMeta, "dict").Result()
		if err == nil && len(values) == 1 {
			name, _ = values[0].(string)
		}
		return err
	})
	if err != nil || v.packer != nil && v.dict == name {
		return err
	}
	dict, err := v.codec.load(ctx, name)
	if err != nil {
		return err
	}
	if v.packer, err = newPacker(dict); err == nil {
		v.dict = name
	}
	return err
}

// Listed reads the newest statement if it is another than notID; if not it is
// one small round trip.
func (a *Snapshot) Listed(ctx context.Context, notID string) (listed object.Listed, ok bool, err error) {
	err = a.store.call(ctx, "read listed", a.resource.String(), scanTimeout, func(ctx context.Context) error {
		listed, ok, err = a.store.readListed(ctx, a.keys, notID)
		return err
	})
	return listed, ok, err
}

// Want asks the verifier for the bodies of keys at listedID's version; several
// calls add up. For a statement that was replaced it does nothing.
func (a *Snapshot) Want(ctx context.Context, listedID string, keys []object.Key) error {
	if len(keys) == 0 {
		return nil
	}
	args := []any{a.fence(), listedID}
	for _, key := range keys {
		args = append(args, key.String())
	}
	return a.store.call(ctx, "want", a.resource.String(), scanTimeout, func(ctx context.Context) error {
		_, _, err := a.store.run(ctx, wantScript, []string{a.keys.fence(a.role), a.keys.listedMeta, a.keys.wants}, args...)
		return err
	})
}

// Bodies returns what the verifier handed over for listedID once it is complete:
// before that bodies is nil, so that asking often costs little. It is never
// complete for a statement that was replaced.
func (a *Snapshot) Bodies(ctx context.Context, listedID string) (bodies map[object.Key]object.Packed, complete bool, err error) {
	complete, err = a.answered(ctx, listedID)
	if err != nil || !complete {
		return nil, false, err
	}
	bodies = map[object.Key]object.Packed{}
	for p, err := range a.store.objects(ctx, a.keys.bodies, a.resource) {
		if err != nil {
			return nil, false, err
		}
		bodies[p.Key] = p
	}
	// Bodies do not name their statement: it must still be the same one.
	if complete, err = a.answered(ctx, listedID); err != nil || !complete {
		return nil, false, err
	}
	return bodies, true, nil
}

// answered says whether listedID stands and nothing is wanted for it any more.
func (a *Snapshot) answered(ctx context.Context, listedID string) (yes bool, err error) {
	err = a.store.call(ctx, "read bodies", a.resource.String(), callTimeout, func(ctx context.Context) error {
		var id *redis.SliceCmd
		var wants *redis.IntCmd
		_, err := a.store.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			id = p.HMGet(ctx, a.keys.listedMeta, "id")
			wants = p.HLen(ctx, a.keys.wants)
			return nil
		})
		if err != nil {
			return err
		}
		yes = len(id.Val()) == 1 && id.Val()[0] == listedID && wants.Val() == 0
		return nil
	})
	return yes, err
}
