package source

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// point is one line of Prometheus' text format: a name, labels, a value and a time.
type point struct {
	labels []byte // what stands in the braces
	value  float64
	at     int64  // Unix nanoseconds, 0 if the line does not say
	room   []byte // of labels' values that were quoted with backslashes
}

var errLine = errors.New("a line is not in Prometheus' text format")

// parse reads what follows the name on a line.
func (p *point) parse(rest []byte) error {
	p.labels, p.at, p.room = nil, 0, p.room[:0]
	if len(rest) > 0 && rest[0] == '{' {
		end := closing(rest)
		if end < 0 {
			return errLine
		}
		p.labels, rest = rest[1:end], rest[end+1:]
	}
	value, at, timed := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	var err error
	if p.value, err = strconv.ParseFloat(string(value), 64); err != nil {
		return fmt.Errorf("%w: its value is %q", errLine, value)
	}
	if timed {
		millis, err := strconv.ParseInt(string(bytes.TrimSpace(at)), 10, 64)
		if err != nil || millis < 0 || millis > math.MaxInt64/int64(1e6) {
			return fmt.Errorf("%w: its time is %q", errLine, at)
		}
		p.at = millis * 1e6
	}
	return nil
}

// closing returns where the brace that opens text is closed; -1 if it is not.
func closing(text []byte) int {
	quoted := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i
		}
	}
	return -1
}

// next takes the first label off. Its value is good until the next line. There is
// none left if name is nil.
func (p *point) next() (name, value []byte, err error) {
	text := bytes.TrimLeft(p.labels, ", ")
	if len(text) == 0 {
		return nil, nil, nil
	}
	name, text, ok := bytes.Cut(text, []byte(`="`))
	if !ok {
		return nil, nil, errLine
	}
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		return nil, nil, errLine
	}
	if bytes.IndexByte(text[:end], '\\') < 0 {
		p.labels = text[end+1:]
		return bytes.TrimSpace(name), text[:end], nil
	}
	from := len(p.room)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			p.labels = text[i+1:]
			return bytes.TrimSpace(name), p.room[from:], nil
		case c == '\\' && i+1 < len(text):
			i++
			if c = text[i]; c == 'n' {
				c = '\n'
			}
			p.room = append(p.room, c)
		default:
			p.room = append(p.room, c)
		}
	}
	return nil, nil, errLine
}

// family is what is done with the lines of one metric.
type family struct {
	name string
	each func(p *point) error
}

// points hands the lines of families on. All others cost the search for their end.
func points(text []byte, families []family) error {
	var p point
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			end = len(text)
		}
		line := text[:end]
		text = text[min(end+1, len(text)):]
		for i := range families {
			rest, ok := bytes.CutPrefix(line, []byte(families[i].name))
			if !ok || len(rest) == 0 || (rest[0] != '{' && rest[0] != ' ') {
				continue // a name may be the beginning of another
			}
			err := p.parse(rest)
			if err == nil {
				err = families[i].each(&p)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", families[i].name, err)
			}
			break
		}
	}
	return nil
}

// isMetrics says whether text looks like metrics at all.
func isMetrics(text []byte) bool {
	return bytes.HasPrefix(text, []byte("# HELP ")) || bytes.HasPrefix(text, []byte("# TYPE ")) ||
		bytes.Contains(text, []byte("\n# TYPE "))
}
