package metrics

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// parsed is a frame as it was read, before a segment gives its columns their slots.
type parsed struct {
	header
	dictionary dictionaryChanges
	data       []byte // the columns of all tables, the parsed's own
	tables     [Kinds]parsedTable
}

type parsedTable struct {
	blocks  int
	columns []parsedColumn
}

type parsedColumn struct {
	metric *Descriptor // nil of the column that says which rows are live
	place  frameColumn
}

// frameColumn is where a column lies in a frame's data.
type frameColumn struct {
	at      uint32 // of the changed bits
	blocks  uint32 // how many the table has
	present uint32 // how many are in the column
}

// parseFrame takes a frame apart and checks all but what is within blocks.
func parseFrame(frame []byte, unpacker *zstd.Decoder) (*parsed, error) {
	body, err := openFrame(frame, unpacker)
	if err != nil {
		return nil, err
	}
	return parseBody(body)
}

func parseBody(body []byte) (*parsed, error) {
	r := &reader{data: body}
	p := &parsed{}
	p.read(r)
	p.dictionary = readDictionary(r)
	if r.bad || p.shards < 1 || p.shard >= p.shards {
		return nil, ErrCorrupt
	}
	p.data = slices.Clone(r.data) // without the strings, which are read only once
	r.data = p.data
	for kind := range Kinds {
		p.readTable(r, kind)
	}
	if r.bad || len(r.data) > 0 {
		return nil, ErrCorrupt
	}
	return p, nil
}

func (p *parsed) readTable(r *reader, kind Kind) {
	t := &p.tables[kind]
	t.blocks = blocksOf(p.dictionary.rows[kind])
	head := r.bytes(2)
	if r.bad {
		return
	}
	n := int(binary.LittleEndian.Uint16(head))
	if n > min(maxColumns, len(r.data)) {
		r.fail()
		return
	}
	t.columns = make([]parsedColumn, 0, n)
	for range n {
		name, flags := r.string(), r.byte()
		data := r.bytes(r.int())
		if r.bad {
			return
		}
		c := parsedColumn{place: frameColumn{at: uint32(len(p.data) - len(r.data) - len(data)), blocks: uint32(t.blocks)}}
		if !c.place.check(data) {
			r.fail()
			return
		}
		if name != "" {
			if c.metric = descriptorOf(name, flags); c.metric == nil {
				continue // another build's: we would misread it
			}
		}
		t.columns = append(t.columns, c)
	}
}

// check counts the blocks of a column and says whether their lengths are right.
func (c *frameColumn) check(data []byte) bool {
	blocks := int(c.blocks)
	if len(data) < bitmapBytes(blocks) {
		return false
	}
	changed := data[:bitmapBytes(blocks)]
	present := 0
	for _, b := range changed {
		present += bits.OnesCount8(b)
	}
	if rest := blocks & 7; rest != 0 && changed[len(changed)-1]>>rest != 0 {
		return false
	}
	data = data[len(changed):]
	if len(data) < 2*present+4*anchorsOf(present) {
		return false
	}
	lengths, anchors := data[:2*present], data[2*present:]
	total := 0
	for i := range present {
		if i%anchorEvery == 0 && int(binary.LittleEndian.Uint32(anchors[i/anchorEvery*4:])) != total {
			return false
		}
		total += int(binary.LittleEndian.Uint16(lengths[2*i:]))
	}
	c.present = uint32(present)
	return len(data) == 2*present+4*anchorsOf(present)+total
}

// block returns a block of the column, nil if it did not change. Data is the frame's.
func (c *frameColumn) block(data []byte, n int) []byte {
	if n >= int(c.blocks) {
		return nil
	}
	changed := data[c.at:]
	if changed[n>>3]&(1<<(n&7)) == 0 {
		return nil
	}
	index, i := 0, 0
	for ; i+8 <= n>>3; i += 8 {
		index += bits.OnesCount64(binary.LittleEndian.Uint64(changed[i:]))
	}
	for ; i < n>>3; i++ {
		index += bits.OnesCount8(changed[i])
	}
	index += bits.OnesCount8(changed[n>>3] & (1<<(n&7) - 1))
	return c.nth(data, index)
}

// nth returns the index-th block that is in the column.
func (c *frameColumn) nth(data []byte, index int) []byte {
	lengths := data[int(c.at)+bitmapBytes(int(c.blocks)):]
	anchors := lengths[2*c.present:]
	at := int(binary.LittleEndian.Uint32(anchors[index/anchorEvery*4:]))
	for i := index / anchorEvery * anchorEvery; i < index; i++ {
		at += int(binary.LittleEndian.Uint16(lengths[2*i:]))
	}
	blocks := anchors[4*anchorsOf(int(c.present)):]
	return blocks[at : at+int(binary.LittleEndian.Uint16(lengths[2*index:]))]
}

// each yields the blocks that are in the column, by their number.
func (c *frameColumn) each(data []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		changed := data[c.at:][:bitmapBytes(int(c.blocks))]
		lengths := data[int(c.at)+len(changed):]
		blocks := lengths[2*int(c.present)+4*anchorsOf(int(c.present)):]
		index := 0
		for i, b := range changed {
			for ; b != 0; b &= b - 1 {
				length := int(binary.LittleEndian.Uint16(lengths[2*index:]))
				if !yield(i*8+bits.TrailingZeros8(b), blocks[:length]) {
					return
				}
				blocks = blocks[length:]
				index++
			}
		}
	}
}
