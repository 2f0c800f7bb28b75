package metrics

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// ErrCorrupt comes when bytes are no frame, or not of this format's version.
var ErrCorrupt = errors.New("frame is corrupt")

// ErrGap comes when a delta is against another batch than the newest that the model
// has: read the keyframe and the stream, and Restore.
var ErrGap = errors.New("frame does not follow the newest one")

// ErrOld comes when a frame is not newer than what the model has: ignore it.
var ErrOld = errors.New("frame is not newer than the newest one")

// A frame is "KRM", the version, a CRC-32C of the rest, and:
//
//	compression   1 byte: 0 or 1 (zstd)
//	length        varint: of the body
//	body          header, dictionary, columns
//
// All numbers are little-endian or varints. What is compared with the batch before is
// in block.go.
const (
	frameMagic   = "KRM\x01"
	frameFixed   = len(frameMagic) + 4
	maxFrameBody = 128 << 20
	maxColumns   = 4096

	packNone = 0
	packZstd = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealFrame makes a frame of a body. It uses scratch, and returns it with the frame.
func sealFrame(body, scratch []byte, packer *zstd.Encoder) (frame, used []byte) {
	head := append(scratch[:0], frameMagic...)
	head = append(head, 0, 0, 0, 0, packZstd)
	head = binary.AppendUvarint(head, uint64(len(body)))
	start := len(head)
	used = packer.EncodeAll(body, head)
	if len(used)-start > len(body)-len(body)/16 {
		used = append(used[:start], body...)
		used[frameFixed] = packNone
	}
	binary.LittleEndian.PutUint32(used[len(frameMagic):], crc32.Checksum(used[frameFixed:], castagnoli))
	return slices.Clone(used), used
}

// openFrame returns a frame's body. It may share the frame's memory.
func openFrame(frame []byte, unpacker *zstd.Decoder) ([]byte, error) {
	if len(frame) < frameFixed+2 || string(frame[:len(frameMagic)]) != frameMagic {
		return nil, ErrCorrupt
	}
	rest := frame[frameFixed:]
	if crc32.Checksum(rest, castagnoli) != binary.LittleEndian.Uint32(frame[len(frameMagic):]) {
		return nil, ErrCorrupt
	}
	length, n := binary.Uvarint(rest[1:])
	if n <= 0 || length > maxFrameBody {
		return nil, ErrCorrupt
	}
	data := rest[1+n:]
	if rest[0] == packZstd {
		// No frame shrinks to less than a hundredth; what says so would cost memory.
		if length > 1<<20 && length/256 > uint64(len(data)) {
			return nil, ErrCorrupt
		}
		var err error
		if data, err = unpacker.DecodeAll(data, make([]byte, 0, length)); err != nil {
			return nil, ErrCorrupt
		}
	}
	if uint64(len(data)) != length {
		return nil, ErrCorrupt
	}
	return data, nil
}

// header is what a frame says of itself.
type header struct {
	cluster       string
	shard, shards int
	run           uint64    // the encoder's name
	at            time.Time // the window's end
	full          bool      // it is against nothing
	leaning       bool      // but its rates are since the batch before
	baseRun       uint64
	base          time.Time
	resolution    time.Duration
	scrapedAt     time.Time
	nodes         []NodeStatus
}

// Kinds of frames.
const (
	deltaFrame = iota
	fullFrame
	leaningFrame
)

func (h *header) append(dst []byte) []byte {
	dst = appendString(dst, h.cluster)
	dst = binary.AppendUvarint(dst, uint64(h.shard))
	dst = binary.AppendUvarint(dst, uint64(h.shards))
	dst = binary.LittleEndian.AppendUint64(dst, h.run)
	dst = appendTime(dst, h.at)
	switch {
	case h.leaning:
		dst = append(dst, leaningFrame)
	case h.full:
		dst = append(dst, fullFrame)
	default:
		dst = append(dst, deltaFrame)
		dst = binary.LittleEndian.AppendUint64(dst, h.baseRun)
		dst = appendTime(dst, h.base)
	}
	dst = binary.AppendVarint(dst, int64(h.resolution))
	dst = appendTime(dst, h.scrapedAt)
	dst = binary.AppendUvarint(dst, uint64(len(h.nodes)))
	for i := range h.nodes {
		node := &h.nodes[i]
		dst = appendString(dst, node.Name)
		dst = appendString(dst, node.Reason)
		dst = appendString(dst, node.Error)
		dst = binary.AppendVarint(dst, int64(node.Took))
		dst = appendTime(dst, node.LastAt)
	}
	return dst
}

func (h *header) read(r *reader) {
	h.cluster = r.string()
	h.shard, h.shards = r.int(), r.int()
	h.run = r.fixed64()
	h.at = r.time()
	kind := r.byte()
	h.leaning, h.full = kind == leaningFrame, kind != deltaFrame
	if !h.full {
		h.baseRun = r.fixed64()
		h.base = r.time()
	}
	h.resolution = time.Duration(r.varint())
	h.scrapedAt = r.time()
	h.nodes = make([]NodeStatus, r.count(5))
	for i := range h.nodes {
		h.nodes[i] = NodeStatus{Name: r.string(), Reason: r.string(), Error: r.string(), Took: time.Duration(r.varint()), LastAt: r.time()}
	}
}

// failed is how many nodes did not answer.
func (h *header) failed() (n int) {
	for i := range h.nodes {
		if h.nodes[i].Reason != "" {
			n++
		}
	}
	return n
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendTime writes Unix nanoseconds; the zero time is the least number.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(dst, -1<<63)
	}
	return binary.AppendVarint(dst, t.UnixNano())
}

// reader reads a body. After a fault everything it returns is zero, and bad is set.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) fail() { r.data, r.bad = nil, true }

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.fail()
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.fail()
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) fixed64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

// int reads a number that is an index or a count of something.
func (r *reader) int() int {
	v := r.uvarint()
	if v > 1<<31-1 {
		r.fail()
		return 0
	}
	return int(v)
}

// count reads how many things of at least size bytes follow.
func (r *reader) count(size int) int {
	n := r.int()
	if n > len(r.data)/size {
		r.fail()
		return 0
	}
	return n
}

func (r *reader) string() string { return string(r.bytes(r.int())) }

func (r *reader) time() time.Time {
	ns := r.varint()
	if ns == -1<<63 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
