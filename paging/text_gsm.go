package paging

import (
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// The alphabet of GSM 03.38 that phones have built in, and the characters that cost two of it.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmDouble = "^{}\\[~]|€\f"
)

// septets is what r costs in GSM-7; 0 where it is not in that alphabet.
func septets(r rune) int {
	switch {
	case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == ' ' || strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmDouble, r):
		return 2
	}
	return 0
}

// Segments is how many messages a carrier makes of an SMS, and whether it goes as UCS-2, of which 70 characters fit one
// message and not 160: one character outside of the GSM alphabet is enough for that.
func Segments(text string) (n int, ucs2 bool) {
	cost, ucs2 := measure(text)
	single, part := sizes(ucs2)
	if cost <= single {
		return 1, ucs2
	}
	return (cost + part - 1) / part, ucs2
}

// sizes are the units that one message has alone, and as a part of several.
func sizes(ucs2 bool) (single, part int) {
	if ucs2 {
		return 70, 67
	}
	return 160, 153
}

// measure is the length of s in septets, or in UTF-16 units where a character of it is not in the GSM alphabet.
func measure(s string) (cost int, ucs2 bool) {
	for _, r := range s {
		n := septets(r)
		if n == 0 {
			return len(utf16.Encode([]rune(s))), true
		}
		cost += n
	}
	return cost, false
}

func unitsOf(r rune, ucs2 bool) int {
	if !ucs2 {
		return septets(r)
	}
	if r > 0xffff {
		return 2
	}
	return 1
}

// most is how many segments an SMS may have.
const most = 3

// leastFact is how much of the fact must be left, in units, for one segment less to be worth it.
const leastFact = 24

// fit joins head, fact and tail to an SMS. Only the fact is cut, on a character's border, to save a segment.
func fit(head, fact, tail string) string {
	whole := head + fact + tail
	cost, ucs2 := measure(whole)
	single, part := sizes(ucs2)
	fixed := 0
	for _, r := range head + tail {
		fixed += unitsOf(r, ucs2)
	}
	for n := 1; ; n++ {
		room := n * part
		if n == 1 {
			room = single
		}
		if cost <= room {
			return whole
		}
		if left := room - fixed; left >= leastFact || n == most {
			return head + cut(fact, left, ucs2) + tail
		}
	}
}

// cut shortens s to room units, three dots included, and never between a letter and its marks.
func cut(s string, room int, ucs2 bool) string {
	const dots = "..."
	used, end := 0, 0 // end: where the last character that fits ends, with its marks
	for i, r := range s {
		if !unicode.Is(unicode.M, r) {
			end = i
		}
		used += unitsOf(r, ucs2)
		if used > room-len(dots) {
			return strings.TrimRight(s[:end], " ,.;:-(") + dots[:max(0, min(len(dots), room))]
		}
	}
	return s
}

// plain makes s fit for SMS: one line, no control or invisible characters, no emoji; and where it is possible without changing
// what is said, nothing outside of the GSM alphabet.
func plain(s string) string {
	s = norm.NFC.String(oneLine(s))
	var b strings.Builder
	for _, r := range s {
		if septets(r) > 0 {
			b.WriteRune(r)
			continue
		}
		if t, ok := translated(r); ok {
			b.WriteString(t)
			continue
		}
		if unicode.In(r, unicode.So, unicode.Sk, unicode.Me, unicode.Variation_Selector) {
			continue
		}
		b.WriteString(bare(r))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// bare is r without its marks, or of its compatibility form, where that is in the GSM alphabet; else r.
func bare(r rune) string {
	var b strings.Builder
	for _, d := range norm.NFKD.String(string(r)) {
		switch {
		case unicode.Is(unicode.Mn, d):
		case septets(d) == 0:
			return string(r)
		default:
			b.WriteRune(d)
		}
	}
	if b.Len() == 0 {
		return string(r)
	}
	return b.String()
}

// translated is what people write for r where they have no key for it.
func translated(r rune) (string, bool) {
	switch r {
	case '\u201c', '\u201d', '\u201e', '\u00ab', '\u00bb', '\u2033':
		return `"`, true
	case '\u2018', '\u2019', '\u201a', '\u2032', '`', '\u00b4':
		return "'", true
	case '\u2013', '\u2014', '\u2212', '\u2010', '\u2011', '\u00b7', '\u2022':
		return "-", true
	case '\u2026':
		return "...", true
	case '\u00d7':
		return "x", true
	case '\u2192', '\u21d2':
		return "->", true
	case '\u2190':
		return "<-", true
	case '\u2265':
		return ">=", true
	case '\u2264':
		return "<=", true
	case '\u2260':
		return "!=", true
	case '\u00b0':
		return " deg ", true
	case '\u00b5', '\u03bc':
		return "u", true
	case 'ł':
		return "l", true
	case 'Ł':
		return "L", true
	case 'đ', 'ð':
		return "d", true
	case 'Đ', 'Ð':
		return "D", true
	case 'þ':
		return "th", true
	case 'Þ':
		return "Th", true
	case 'ı':
		return "i", true
	case 'œ':
		return "oe", true
	case 'Œ':
		return "OE", true
	case '\u2122', '\u00ae', '\u00a9':
		return "", true
	}
	return "", false
}

// oneLine makes s one line of what can be seen: control, direction and joining characters go, blanks are single.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Cc, r):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Noncharacter_Code_Point):
			return -1
		}
		return r
	}, strings.ToValidUTF8(clip(s, maxReply), "?"))
	return strings.Join(strings.Fields(s), " ")
}
