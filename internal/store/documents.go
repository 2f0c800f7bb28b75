package store

import (
	"context"
	_ "embed" // the script is a file of its own
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	//go:embed lua/documents.lua
	documentsLua    string
	documentsScript = redis.NewScript(documentsLua)
)

// documentKeys are the names of what the API server says of its API. They share a
// slot, so that one script may write them.
type documentKeys struct {
	bodies    string // hash: path → revision, a zero byte, a zstd frame
	revisions string // hash: path → revision
	meta      string // hash: revision, cluster, checked:PART in Unix milliseconds
}

func newDocumentKeys(prefix string) documentKeys {
	base := prefix + ":{discovery}:documents"
	return documentKeys{bodies: base, revisions: base + ":revisions", meta: base + ":meta"}
}

const (
	documentsSubject = "documents"
	checkedField     = "checked:"
	documentsRetries = 5
)

// errDocumentsMoved comes when the documents were replaced while they were read, several times.
var errDocumentsMoved = errors.New("the documents are being replaced")

// PutDocuments stores what was read of one part (object.DiscoveryPart,
// object.OpenAPIPart) by a writer that saw the stored documents at revision since:
// what changed is written, what of the part is no longer there is removed, and
// CheckedAt becomes now. Documents of another cluster give way as a whole.
// The set's revision moves only if something changed. object.ErrLost comes if
// the set has another revision by now: nothing was written, read it again.
func (s *Store) PutDocuments(ctx context.Context, part string, since object.Documents, read object.DocumentsRead) error {
	k := newDocumentKeys(s.options.Prefix)
	otherCluster := read.ClusterUID != "" && since.ClusterUID != "" && read.ClusterUID != since.ClusterUID
	var gone []string
	for path := range since.ByPath {
		if _, there := read.Revisions[path]; !there && !otherCluster && partOf(path) == part {
			gone = append(gone, path)
		}
	}
	revision := since.Revision
	if len(gone) > 0 || len(read.Changed) > 0 || otherCluster || revision == "" {
		revision = randomID()
	}
	args := []any{
		since.Revision, revision, read.ClusterUID,
		checkedField + part, strconv.FormatInt(time.Now().UnixMilli(), 10), len(gone),
	}
	for _, path := range gone {
		args = append(args, path)
	}
	packed, err := packDocuments(read.Changed)
	if err != nil {
		return err
	}
	for i, d := range read.Changed {
		args = append(args, d.Path, d.Revision, packed[i])
	}
	return s.call(ctx, "put documents", part, scanTimeout, func(ctx context.Context) error {
		_, _, err := s.run(ctx, documentsScript, []string{k.bodies, k.revisions, k.meta}, args...)
		return err
	})
}

// partOf tells to which part the document at path belongs.
func partOf(path string) string {
	if strings.HasPrefix(path, "/openapi/") {
		return object.OpenAPIPart
	}
	return object.DiscoveryPart
}

// DocumentRevisions returns the stored set without the documents' data.
func (s *Store) DocumentRevisions(ctx context.Context) (set object.Documents, err error) {
	k := newDocumentKeys(s.options.Prefix)
	var meta, revisions *redis.MapStringStringCmd
	err = s.call(ctx, "read documents", documentsSubject, callTimeout, func(ctx context.Context) error {
		_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			meta, revisions = p.HGetAll(ctx, k.meta), p.HGetAll(ctx, k.revisions)
			return nil
		})
		return err
	})
	if err != nil {
		return set, err
	}
	set = object.Documents{
		Revision: meta.Val()["revision"], ClusterUID: meta.Val()["cluster"],
		CheckedAt: map[string]time.Time{}, ByPath: map[string]object.PackedDocument{},
	}
	for field, text := range meta.Val() {
		if part, found := strings.CutPrefix(field, checkedField); found {
			ms, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return set, fmt.Errorf("read documents: field %s: %w", field, err)
			}
			set.CheckedAt[part] = time.UnixMilli(ms).UTC()
		}
	}
	for path, revision := range revisions.Val() {
		set.ByPath[path] = object.PackedDocument{Revision: revision}
	}
	return set, nil
}

// Documents returns the stored set, or have if that is still the stored one, which
// costs one small read. What have holds already is not read again. Its CheckedAt
// is then the older one.
func (s *Store) Documents(ctx context.Context, have object.Documents) (object.Documents, error) {
	k := newDocumentKeys(s.options.Prefix)
	for range documentsRetries {
		var revision string
		err := s.call(ctx, "poll documents", documentsSubject, callTimeout, func(ctx context.Context) (err error) {
			revision, err = s.client.HGet(ctx, k.meta, "revision").Result()
			if errors.Is(err, redis.Nil) {
				err = nil
			}
			return err
		})
		if err != nil || revision == have.Revision {
			return have, err
		}
		set, err := s.DocumentRevisions(ctx)
		if err != nil {
			return have, err
		}
		complete, err := s.fillDocuments(ctx, &set, have)
		if err != nil {
			return have, err
		}
		if complete {
			return set, nil
		}
	}
	return have, fmt.Errorf("read documents: %w", errDocumentsMoved)
}

// fillDocuments adds the data to set, from have or from Redis. It is not complete
// if a document was replaced meanwhile.
func (s *Store) fillDocuments(ctx context.Context, set *object.Documents, have object.Documents) (complete bool, err error) {
	k := newDocumentKeys(s.options.Prefix)
	var missing []string
	for path, d := range set.ByPath {
		if known := have.ByPath[path]; known.Revision == d.Revision && known.Data != nil {
			set.ByPath[path] = known
			continue
		}
		missing = append(missing, path)
	}
	for paths := range slices.Chunk(missing, 32) {
		var bodies []any
		err := s.call(ctx, "read documents", documentsSubject, scanTimeout, func(ctx context.Context) (err error) {
			bodies, err = s.client.HMGet(ctx, k.bodies, paths...).Result()
			return err
		})
		if err != nil {
			return false, err
		}
		for i, path := range paths {
			text, _ := bodies[i].(string)
			revision, data, found := strings.Cut(text, "\x00")
			if !found || revision != set.ByPath[path].Revision {
				return false, nil
			}
			set.ByPath[path] = object.PackedDocument{Revision: revision, Data: []byte(data)}
		}
	}
	return true, nil
}

// ForgetDocuments deletes everything that is stored of the API server's documents.
func (s *Store) ForgetDocuments(ctx context.Context) error {
	k := newDocumentKeys(s.options.Prefix)
	return s.call(ctx, "forget documents", documentsSubject, callTimeout, func(ctx context.Context) error {
		return s.client.Unlink(ctx, k.bodies, k.revisions, k.meta).Err()
	})
}

// packDocuments compresses each document, its revision before it.
func packDocuments(documents []object.Document) ([][]byte, error) {
	if len(documents) == 0 {
		return nil, nil
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("pack documents: %w", err)
	}
	defer func() { _ = encoder.Close() }() // it writes nowhere
	packed := make([][]byte, len(documents))
	for i, d := range documents {
		if strings.ContainsRune(d.Revision, 0) {
			return nil, fmt.Errorf("pack document %s: a zero byte in revision %q", d.Path, d.Revision)
		}
		packed[i] = encoder.EncodeAll(d.Body, append([]byte(d.Revision), 0))
	}
	return packed, nil
}

// UnpackDocument opens a stored document. The text is the caller's own.
// object.ErrUnreadable comes if it cannot be opened.
func (s *Store) UnpackDocument(d object.PackedDocument) ([]byte, error) {
	decoder, err := newDecoder(nil)
	if err != nil {
		return nil, fmt.Errorf("unpack document: %w", err)
	}
	defer decoder.Close()
	text, err := decoder.DecodeAll(d.Data, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack document: %w: %w", object.ErrUnreadable, err)
	}
	return text, nil
}
