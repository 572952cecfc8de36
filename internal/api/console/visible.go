package console

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// visible returns page with everything shown that a browser would obey or hide: NUL and other controls, marks that turn the
// direction of text, invisible spaces, bytes that are no UTF-8. What joins letters and emoji stays: words need it.
func visible(page []byte) []byte {
	start := 0
	for start < len(page) && !hidden(page[start]) {
		start++
	}
	if start == len(page) {
		return page
	}
	out := append(make([]byte, 0, len(page)+64), page[:start]...)
	for i := start; i < len(page); {
		r, size := utf8.DecodeRune(page[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = utf8.AppendRune(out, utf8.RuneError)
		case r == '\n', r == '\t':
			out = append(out, byte(r))
		case r < 0x20:
			out = utf8.AppendRune(out, 0x2400+r) // its picture
		case r == 0x7f:
			out = utf8.AppendRune(out, '␡')
		case conceals(r):
			out = fmt.Appendf(out, "[U+%04X]", r)
		default:
			out = append(out, page[i:i+size]...)
		}
		i += size
	}
	return out
}

// hidden reports whether b may begin something that visible changes.
func hidden(b byte) bool {
	return b >= utf8.RuneSelf || b == 0x7f || b < 0x20 && b != '\n' && b != '\t'
}

const (
	nonJoiner, joiner = 0x200c, 0x200d
	softHyphen        = 0x00ad
	tagFirst, tagLast = 0xe0020, 0xe007f // in flags
)

func conceals(r rune) bool {
	switch {
	case r == nonJoiner, r == joiner, r == softHyphen, r >= tagFirst && r <= tagLast:
		return false
	case r == 0x2028, r == 0x2029: // line and paragraph separators
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r)
}
