package field

import (
	"errors"
	"fmt"
	"strings"
)

// scanner reads paths, and what stands between them, from a client's text.
type scanner struct {
	text      string
	at        int
	descended bool // the path has a ".."
	descents  int  // ".." in all paths
	queries   int  // @ and $ in the filters of all paths
}

// errDescents and the others are faults that need no position.
var (
	errDescents     = errors.New(`want at most one ".." and none within a filter`)
	errManyDescents = fmt.Errorf(`want at most %d ".." in a parameter`, maxDescents)
	errQueries      = fmt.Errorf("want at most %d queries (@ and $) in a parameter's filters", maxQueries)
	errUnion        = errors.New("want no union within a filter")
	errAbsolute     = errors.New("want only members and indexes after a $ within a filter")
	errNest         = fmt.Errorf("want brackets and parentheses at most %d deep", maxNest)
)

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// accept moves over prefix if that comes next.
func (s *scanner) accept(prefix string) bool {
	if strings.HasPrefix(s.text[s.at:], prefix) {
		s.at += len(prefix)
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

func (s *scanner) done() bool { return s.at >= len(s.text) }

// end fails unless nothing but space is left.
func (s *scanner) end() error {
	if s.space(); !s.done() {
		return s.unexpected()
	}
	return nil
}

func (s *scanner) unexpected() error {
	if s.done() {
		return errors.New("unexpected end")
	}
	return fmt.Errorf("at %d: unexpected %q", s.at+1, []rune(clip(s.text[s.at:]))[0])
}

// rewrite scans one path of either dialect and returns it in RFC 9535's, every member
// in brackets. It stops before what cannot belong to a path.
func (s *scanner) rewrite() (string, error) {
	s.descended = false
	braced := s.accept("{")
	if braced {
		s.space()
	}
	var out strings.Builder
	out.WriteByte('$')
	if !s.accept("$") && !s.accept("@") && isName(s.peek()) {
		if err := s.member(&out); err != nil {
			return "", err
		}
	}
	if err := s.segments(&out, 0, anything); err != nil {
		return "", err
	}
	if braced {
		if s.space(); !s.accept("}") {
			return "", s.unexpected()
		}
	}
	return out.String(), nil
}

// allowed is what a query may use.
type allowed int

const (
	anything allowed = iota
	inFilter         // no "..", no unions
	absolute         // members and indexes
)

// segments scans .name, .*, ..name, ..*, [ ] for as long as they come.
func (s *scanner) segments(out *strings.Builder, nest int, may allowed) error {
	for {
		switch {
		case s.accept(".."):
			if s.descended || may != anything {
				return errDescents
			}
			if s.descents++; s.descents > maxDescents {
				return errManyDescents
			}
			s.descended = true
			out.WriteString("..")
			if s.peek() != '[' {
				if err := s.memberOrAll(out, may); err != nil {
					return err
				}
			}
		case s.accept("."):
			if err := s.memberOrAll(out, may); err != nil {
				return err
			}
		}
		if s.peek() == '[' {
			if err := s.bracket(out, nest+1, may); err != nil {
				return err
			}
		} else if s.peek() != '.' {
			return nil
		}
	}
}

func (s *scanner) memberOrAll(out *strings.Builder, may allowed) error {
	if !s.accept("*") {
		return s.member(out)
	}
	if may == absolute {
		return errAbsolute
	}
	out.WriteString("[*]")
	return nil
}

// isName says whether c may stand in a name without brackets. It is wider than
// RFC 9535: kubectl takes dashes and slashes too.
func isName(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`.,[](){}'"=!<>&|*?@$`, c) < 0
}

// member scans a name, in which a backslash makes any character part of it.
func (s *scanner) member(out *strings.Builder) error {
	var name strings.Builder
	for !s.done() && isName(s.peek()) {
		if s.accept(`\`) && s.done() {
			return s.unexpected()
		}
		name.WriteByte(s.peek())
		s.at++
	}
	if name.Len() == 0 {
		return s.unexpected()
	}
	quote(out, name.String())
	return nil
}

// quote writes name as a selector: ['name'].
func quote(out *strings.Builder, name string) {
	out.WriteString("['")
	for i := range len(name) {
		switch c := name[i]; {
		case c == '\'' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(out, `\u%04x`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteString("']")
}

// bracket copies [ ], in which it rewrites the queries of filters.
func (s *scanner) bracket(out *strings.Builder, nest int, may allowed) error {
	open := s.at
	closing := make([]byte, 0, maxNest)
	for !s.done() {
		c := s.peek()
		switch c {
		case '\'', '"':
			if err := s.literal(out); err != nil {
				return err
			}
			continue
		case '@', '$':
			if err := s.query(out, nest, c); err != nil {
				return err
			}
			continue
		case '[':
			closing = append(closing, ']')
		case '(':
			closing = append(closing, ')')
		case 'm', 's':
			if s.function(out) {
				continue
			}
		case ']', ')':
			last := len(closing) - 1
			if last < 0 || closing[last] != c {
				return s.unexpected()
			}
			closing = closing[:last]
		case ',':
			if may != anything && len(closing) == 1 {
				return errUnion
			}
		case '*', '?', ':':
			if may == absolute {
				return errAbsolute
			}
		}
		if nest+len(closing) > maxNest {
			return errNest
		}
		out.WriteByte(c)
		s.at++
		if len(closing) == 0 {
			return nil
		}
	}
	return fmt.Errorf("at %d: [ has no ]", open+1)
}

// function renames match and search before their parenthesis.
func (s *scanner) function(out *strings.Builder) bool {
	switch {
	case strings.HasPrefix(s.text[s.at:], "match("):
		out.WriteString(matchName)
		s.at += len("match")
	case strings.HasPrefix(s.text[s.at:], "search("):
		out.WriteString(searchName)
		s.at += len("search")
	default:
		return false
	}
	return true
}

// query rewrites what follows a @ or $ within a filter.
func (s *scanner) query(out *strings.Builder, nest int, root byte) error {
	out.WriteByte(root)
	s.at++
	if s.queries++; s.queries > maxQueries {
		return errQueries
	}
	if root == '$' {
		return s.segments(out, nest, absolute)
	}
	return s.segments(out, nest, inFilter)
}

// literal copies a quoted string. kubectl escapes dots in it too.
func (s *scanner) literal(out *strings.Builder) error {
	begin := s.at
	if err := s.skipLiteral(); err != nil {
		return err
	}
	dots := strings.NewReplacer(`\\`, `\\`, `\.`, `.`)
	_, _ = dots.WriteString(out, s.text[begin:s.at]) // a Builder takes everything
	return nil
}

func (s *scanner) skipLiteral() error {
	mark, begin := s.peek(), s.at
	for s.at++; !s.done(); s.at++ {
		switch s.peek() {
		case '\\':
			s.at++
		case mark:
			s.at++
			return nil
		}
	}
	s.at = len(s.text)
	return fmt.Errorf("at %d: %c is not closed", begin+1, mark)
}
