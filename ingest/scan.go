package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A SyntaxError says why a body as a whole is no JSON that could be used; nothing of it was taken.
type SyntaxError struct {
	Offset int // bytes from the start of the body
	Detail string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.Detail) }

// A Scanner reads one JSON text, strictly, without knowing what it means. After a mistake every method answers false or
// nothing, and Err says what it was, so that callers need to look once, at the end.
//
// Doubled names are the caller's to find, by Names or by sorting, except in values that are skipped.
type Scanner struct {
	b     []byte
	s     string // the same text; what is returned is a part of it
	i     int    // read up to here
	first bool   // no element of the innermost array or object has been read
	plain bool   // nothing in the last field's name was escaped
	err   *SyntaxError

	scratch []byte
	texts   texts
	rest    bytes.Buffer
	dec     *jsontext.Decoder
}

// Reset begins to read body, which must not change meanwhile.
func (s *Scanner) Reset(body []byte) {
	s.b, s.s, s.i, s.first, s.err = body, string(body), 0, false, nil
	s.texts = texts{piece: min(len(body), 8<<10)}
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		s.Fail("a byte order mark: send UTF-8 without one")
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")), bytes.HasPrefix(body, []byte{0}),
		len(body) > 1 && body[1] == 0:
		s.Fail("UTF-16 or UTF-32: send UTF-8")
	case s.Peek() == 0 && s.i == len(body):
		s.Fail("the body is empty")
	}
}

// release forgets the text, so that whoever pools the Scanner does not keep it.
func (s *Scanner) release() {
	s.b, s.s, s.texts, s.rest = nil, "", texts{}, bytes.Buffer{}
	if cap(s.scratch) > 64<<10 {
		s.scratch = nil
	}
}

// Err returns the mistake that ended the reading, or nil.
func (s *Scanner) Err() error {
	if s.err == nil {
		return nil
	}
	return s.err
}

// Fail ends the reading: what stands here is not what may stand here.
func (s *Scanner) Fail(detail string) { s.failAt(s.i, detail) }

func (s *Scanner) failAt(offset int, detail string) {
	if s.err == nil {
		s.err = &SyntaxError{offset, detail}
	}
	s.b = s.b[:0] // nothing is read any more
	s.i = 0
}

// Offset returns how many bytes have been read.
func (s *Scanner) Offset() int { return s.i }

// Since returns the text from offset start up to here.
func (s *Scanner) Since(start int) string { return s.s[min(start, s.i):s.i] }

// Peek returns the first byte of what comes next, blanks apart, and 0 at the end.
func (s *Scanner) Peek() byte {
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c > ' ' || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
		s.i++
	}
	return 0
}

// expect fails, saying what is missing here.
func (s *Scanner) expect(what string) {
	if s.err != nil {
		return
	}
	if s.i >= len(s.b) {
		s.Fail("the body ends where " + what + " is due")
		return
	}
	s.Fail(fmt.Sprintf("%s is due, not %q", what, s.b[s.i]))
}

// Array enters an array; it is false, and reads nothing, where there is none.
func (s *Scanner) Array() bool { return s.enter('[') }

// Object enters an object; it is false, and reads nothing, where there is none.
func (s *Scanner) Object() bool { return s.enter('{') }

func (s *Scanner) enter(open byte) bool {
	if s.Peek() != open {
		return false
	}
	s.i++
	s.first = true
	return true
}

// Element reports whether the array has one more element, which is to be read next; else it leaves the array.
func (s *Scanner) Element() bool { return s.more(']') }

func (s *Scanner) more(end byte) bool {
	c := s.Peek()
	first := s.first
	s.first = false
	switch {
	case c == end:
		s.i++
		return false
	case first && c != 0:
		return true
	case c != ',' || first:
		s.expect("a comma or the end of the list")
		return false
	}
	s.i++
	if s.Peek() == end {
		s.expect("a value behind the comma")
		return false
	}
	return true
}

// Field reads the name of the object's next field, whose value is to be read next; it is false, and leaves the object, where
// there is none.
func (s *Scanner) Field() (name string, ok bool) {
	if !s.more('}') {
		return "", false
	}
	if s.Peek() != '"' {
		s.expect("a name in quotes")
		return "", false
	}
	name, s.plain = s.text()
	if s.Peek() != ':' {
		s.expect("a colon")
		return "", false
	}
	s.i++
	return name, s.err == nil
}

// PlainName reports whether nothing in the last field's name was escaped, so that it has no quote, no backslash and no control
// character.
func (s *Scanner) PlainName() bool { return s.plain }

// Text reads a string. It is false where there is none, and reads nothing; plain says that nothing in it was escaped, so that
// it has no quote, no backslash and no control character.
func (s *Scanner) Text() (v string, plain, ok bool) {
	if s.Peek() != '"' {
		return "", false, false
	}
	v, plain = s.text()
	return v, plain, s.err == nil
}

// Null reads null; it is false, and reads nothing, where there is something else.
func (s *Scanner) Null() bool {
	if s.Peek() != 'n' || !strings.HasPrefix(s.s[s.i:], "null") {
		return false
	}
	s.i += len("null")
	return true
}

// End fails unless all has been read.
func (s *Scanner) End() {
	s.Peek()
	if s.err == nil && s.i < len(s.b) {
		s.Fail("more stands behind the end of the JSON")
	}
}

// text reads the string that begins here.
func (s *Scanner) text() (v string, plain bool) {
	b, start := s.b, s.i+1
	i := plainEnd(b, start)
	if i < len(b) && b[i] == '"' {
		s.i = i + 1
		return s.s[start:i], true
	}
	ascii := true
	for ; i < len(b); i = plainEnd(b, i) {
		switch c := b[i]; {
		case c == '"':
			v = s.s[start:i]
			if !ascii && !utf8.ValidString(v) {
				s.failAt(start, "text that is not UTF-8")
				return "", false
			}
			s.i = i + 1
			return v, true
		case c == '\\':
			return s.escaped(start, i, ascii), false
		case c < ' ':
			s.control(i)
			return "", false
		}
		ascii = false
		i++
	}
	s.failAt(len(b), "the body ends within a text")
	return "", false
}

// plainEnd returns the place of the first byte from i on that is a quote, a backslash, a control character or not ASCII, and
// len(b) where there is none.
func plainEnd(b []byte, i int) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^low*'"', w^low*'\\'
		// Borrows go upwards only, so that the lowest mark is right whatever stands above it.
		marks := ((quote-low)&^quote | (slash-low)&^slash | (w-low*' ')&^w | w) & high
		if marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' && b[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// escaped reads on in the string whose text begins at start, from the backslash at i.
func (s *Scanner) escaped(start, i int, ascii bool) string {
	b, out, from := s.b, s.scratch[:0], start
	for ; i < len(b); i = plainEnd(b, i) {
		switch c := b[i]; {
		case c == '"':
			out = append(out, b[from:i]...)
			s.scratch = out
			if !ascii && !utf8.Valid(out) {
				s.failAt(start, "text that is not UTF-8")
				return ""
			}
			s.i = i + 1
			return s.texts.add(out)
		case c == '\\' && i+1 < len(b) && simpleEscape(b[i+1]) != 0:
			out = append(append(out, b[from:i]...), simpleEscape(b[i+1]))
			i += 2
			from = i
		case c == '\\':
			return s.unquoted(start, i)
		case c < ' ':
			s.control(i)
			return ""
		default:
			ascii = false
			i++
		}
	}
	s.failAt(len(b), "the body ends within a text")
	return ""
}

// simpleEscape returns the character that a backslash and c stand for, or 0 where they are not one of the usual pairs.
func simpleEscape(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	}
	return 0
}

// unquoted reads the string whose text begins at start and has a backslash at i that is no simple escape: jsontext knows all
// about surrogates.
func (s *Scanner) unquoted(start, i int) string {
	b := s.b
	for i < len(b) && b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(b) {
		s.failAt(len(b), "the body ends within a text")
		return ""
	}
	var err error
	s.scratch, err = jsontext.AppendUnquote(s.scratch[:0], b[start-1:i+1])
	if err != nil {
		s.failAt(start, "text: "+cause(err))
		return ""
	}
	s.i = i + 1
	return s.texts.add(s.scratch)
}

func (s *Scanner) control(i int) {
	s.failAt(i, fmt.Sprintf("control character %#02x in a text: it has to be escaped", s.b[i]))
}

// Skip reads whatever value comes next.
func (s *Scanner) Skip() {
	switch s.Peek() {
	case 0, '}', ']', ',', ':':
		s.expect("a value")
		return
	case '"':
		s.text()
		return
	}
	s.rest = *bytes.NewBuffer(s.b[s.i:])
	if s.dec == nil {
		s.dec = jsontext.NewDecoder(&s.rest)
	} else {
		s.dec.Reset(&s.rest)
	}
	for {
		tok, err := s.dec.ReadToken()
		if err != nil {
			offset := s.dec.InputOffset()
			if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
				offset = syntactic.ByteOffset
			}
			s.failAt(s.i+int(offset), cause(err))
			return
		}
		if tok.Kind() == '0' {
			if why := badNumber(tok.String()); why != "" {
				s.failAt(s.i+int(s.dec.InputOffset()), why)
				return
			}
		}
		if s.dec.StackDepth() == 0 {
			break
		}
	}
	s.i += int(s.dec.InputOffset())
}

// Value reads whatever value comes next and returns it as it stands there.
func (s *Scanner) Value() string {
	s.Peek()
	start := s.i
	s.Skip()
	return s.Since(start)
}

// badNumber says why a number cannot be used, or nothing.
func badNumber(n string) string {
	if len(n) > MaxNumber {
		return fmt.Sprintf("a number of %d characters: at most %d", len(n), MaxNumber)
	}
	if _, err := strconv.ParseFloat(n, 64); err != nil {
		return "number " + n + " is too large"
	}
	return ""
}

// cause returns jsontext's reason without its own place, which is not counted from the start of the body.
func cause(err error) string {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		err = syntactic.Err
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Sprintf("a name stands twice: %s", syntactic.JSONPointer)
		}
	}
	return err.Error()
}

// texts keeps strings that are no part of a body, many in one piece of memory.
type texts struct {
	piece int // bytes to take at once: about what one body needs
	b     strings.Builder
}

// add returns a string of the bytes in p.
func (t *texts) add(p []byte) string {
	if t.b.Cap()-t.b.Len() < len(p) {
		t.b = strings.Builder{}
		t.b.Grow(max(t.piece, len(p)))
	}
	start := t.b.Len()
	t.b.Write(p)
	return t.b.String()[start:]
}

// Names finds doubled names among those of one object; the zero value knows none.
type Names struct {
	few  []string
	many map[string]struct{}
}

// Reset forgets all names.
func (n *Names) Reset() {
	clear(n.few)
	n.few, n.many = n.few[:0], nil
}

// Add adds name, and is false where it has been added before.
func (n *Names) Add(name string) bool {
	if n.many == nil {
		for _, f := range n.few {
			if f == name {
				return false
			}
		}
		n.few = append(n.few, name)
		if len(n.few) < 32 {
			return true
		}
		n.many = make(map[string]struct{}, 2*len(n.few))
		for _, f := range n.few {
			n.many[f] = struct{}{}
		}
		return true
	}
	_, seen := n.many[name]
	n.many[name] = struct{}{}
	return !seen
}
