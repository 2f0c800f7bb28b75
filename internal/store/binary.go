package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// What is written to Redis is a format byte and then numbers (uvarints, times as
// 8 bytes of Unix nanoseconds, 0 for none) and texts with their length before them.

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.LittleEndian.AppendUint64(b, 0)
	}
	return binary.LittleEndian.AppendUint64(b, uint64(t.UnixNano()))
}

var errGarbage = errors.New("not in a format that this version of KRM reads")

// scanner reads what the append functions wrote. The first fault makes every
// later read return nothing; the caller asks for err at the end.
type scanner struct {
	rest []byte
	err  error
}

func (s *scanner) fail() {
	s.rest, s.err = nil, errGarbage
}

func (s *scanner) byte() byte {
	if len(s.rest) == 0 {
		s.fail()
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// format is the first byte of everything but Packed.Data, which has its own.
const format = 1

// format checks the format byte.
func (s *scanner) format() {
	if s.byte() != format {
		s.fail()
	}
}

func (s *scanner) uvarint() uint64 {
	v, n := binary.Uvarint(s.rest)
	if n <= 0 {
		s.fail()
		return 0
	}
	s.rest = s.rest[n:]
	return v
}

// count reads how many things follow, each of which takes at least size bytes.
func (s *scanner) count(size int) int {
	n := s.uvarint()
	if n > uint64(len(s.rest)/size) {
		s.fail()
		return 0
	}
	return int(n)
}

// take returns the next n bytes; they share the scanner's memory.
func (s *scanner) take(n uint64) []byte {
	if n > uint64(len(s.rest)) {
		s.fail()
		return nil
	}
	b := s.rest[:n:n]
	s.rest = s.rest[n:]
	return b
}

func (s *scanner) bytes() []byte { return s.take(s.uvarint()) }
func (s *scanner) text() string  { return string(s.bytes()) }

func (s *scanner) uint64() uint64 {
	b := s.take(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (s *scanner) time() time.Time {
	nanos := int64(s.uint64())
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// version reads a version. What is none would panic when it is compared.
func (s *scanner) version() object.Version {
	b := s.bytes()
	if !isVersion(b) {
		s.fail()
		return ""
	}
	return object.Version(b)
}

// isVersion says whether text is "" or a decimal number without leading zeros.
func isVersion[T ~string | ~[]byte](text T) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return len(text) == 0 || text[0] != '0'
}

// done returns the scanner's error, or that something is left over.
func (s *scanner) done() error {
	if s.err == nil && len(s.rest) > 0 {
		return errGarbage
	}
	return s.err
}

// appendKey writes what appendText(b, key.String()) would.
func appendKey(b []byte, key object.Key) []byte {
	if key.Namespace == "" {
		return appendText(b, key.Name)
	}
	b = binary.AppendUvarint(b, uint64(len(key.Namespace)+1+len(key.Name)))
	b = append(b, key.Namespace...)
	b = append(b, '/')
	return append(b, key.Name...)
}

const flagDeleted = 1

// appendHead writes what a head holds besides its key.
func appendHead(b []byte, h object.Head) []byte {
	var flags byte
	if h.Deleted {
		flags |= flagDeleted
	}
	b = append(b, flags)
	b = appendTime(b, h.SeenAt)
	b = binary.AppendUvarint(b, uint64(len(h.UID)))
	b = binary.AppendUvarint(b, uint64(len(h.Version)))
	b = append(b, h.UID...)
	return append(b, h.Version...)
}

// head reads what appendHead wrote. UID and Version share one string.
func (s *scanner) head(key object.Key) object.Head {
	h := object.Head{Key: key}
	h.Deleted = s.byte()&flagDeleted != 0
	h.SeenAt = s.time()
	uid, version := s.uvarint(), s.uvarint()
	if uid > uint64(len(s.rest)) || version > uint64(len(s.rest)) {
		s.fail()
		return object.Head{}
	}
	text := string(s.take(uid + version))
	if s.err == nil && !isVersion(text[uid:]) {
		s.fail()
	}
	if s.err != nil {
		return object.Head{}
	}
	h.UID, h.Version = text[:uid], object.Version(text[uid:])
	return h
}
