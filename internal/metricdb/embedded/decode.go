package embedded

import (
	"encoding/binary"
)

// reader reads varints, and remembers that it could not.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// head is a block's header.
type head struct {
	times []int64
	ids   []uint64
}

// header decodes the times and series of a block, and returns the rest of it.
func header(block []byte) (h head, rest []byte, err error) {
	all := reader{b: block}
	r := reader{b: all.bytes(all.uvarint())}
	count := r.uvarint()
	if count > uint64(len(r.b)) {
		return h, nil, errBlock
	}
	h.times = make([]int64, count)
	var at int64
	for i := range h.times {
		at += r.varint()
		h.times[i] = at
	}
	count = r.uvarint()
	if count > uint64(len(r.b)) {
		return h, nil, errBlock
	}
	h.ids = make([]uint64, count)
	var id uint64
	for i := range h.ids {
		id += r.uvarint()
		h.ids[i] = id
	}
	if r.bad || all.bad || len(h.times) == 0 {
		return h, nil, errBlock
	}
	return h, all.b, nil
}

// decode yields the columns of the wanted series. A column's slices are the
// receiver's.
func (c *codec) decode(block []byte, wanted func(id uint64) bool, yield func(column)) error {
	h, rest, err := header(block)
	if err != nil {
		return err
	}
	some := false
	for _, id := range h.ids {
		some = some || wanted(id)
	}
	if !some {
		return nil
	}
	raw, err := c.dec.DecodeAll(rest, nil)
	if err != nil {
		return errBlock
	}
	body := reader{b: raw}
	params := reader{b: body.bytes(body.uvarint())}
	planes := int(body.byte())
	d := decoding{planes: planes, residuals: body.b}
	if planes > 0 {
		d.stride = len(body.b) / planes
	}
	for _, id := range h.ids {
		one, ok := d.series(&params, h.times, wanted(id))
		if !ok || params.bad || body.bad {
			return errBlock
		}
		if one.values != nil {
			one.id = id
			yield(one)
		}
	}
	return nil
}

// decoding is how far the residuals of a block are read.
type decoding struct {
	residuals      []byte
	planes, stride int
	at             int
}

func (d *decoding) residual(i int) (u uint64) {
	for plane, at := 0, d.at+i; plane < d.planes; plane, at = plane+1, at+d.stride {
		u |= uint64(d.residuals[at]) << (8 * plane)
	}
	return u
}

// series reads one series; without values if it is not wanted.
func (d *decoding) series(params *reader, all []int64, wanted bool) (out column, ok bool) {
	times := all
	if params.byte() == 1 {
		bitmap := params.bytes(uint64(len(all)+7) / 8)
		if params.bad {
			return out, false
		}
		times = make([]int64, 0, len(all))
		for k, at := range all {
			if bitmap[k/8]>>(k%8)&1 == 1 {
				times = append(times, at)
			}
		}
	} else if wanted {
		times = append([]int64(nil), all...)
	}
	if len(times) == 0 {
		return out, false
	}
	out.times = times
	if len(times) == 1 {
		first := params.varint()
		if wanted {
			out.values = []int64{first}
		}
		return out, true
	}
	steps := params.byte() == 1
	first, divisor := params.varint(), params.uvarint()
	count := len(times)
	if steps {
		count--
	}
	if divisor == 0 {
		count = 0
	}
	if d.at+count > d.stride {
		if d.planes > 0 || count > 0 {
			return out, false
		}
	}
	if wanted {
		out.values = d.values(make([]int64, len(times)), steps, first, divisor)
	}
	d.at += count
	return out, true
}

func (d *decoding) values(values []int64, steps bool, first int64, divisor uint64) []int64 {
	switch {
	case divisor == 0:
		for i := range values {
			values[i] = first
		}
	case steps:
		values[0] = first
		for i := 1; i < len(values); i++ {
			values[i] = values[i-1] + unzigzag(d.residual(i-1))*int64(divisor)
		}
	default:
		for i := range values {
			values[i] = int64(uint64(first) + d.residual(i)*divisor)
		}
	}
	return values
}
