package api

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"tocsin"
)

// FNV-1a, 64 bits.
const (
	fnvBasis = 14695981039346656037
	fnvPrime = 1099511628211
)

// fingerprint is what Alertmanager calls a label set: FNV-1a over names and values, names in order, 0xFF behind each.
func fingerprint(ls []tocsin.Label) uint64 {
	h := uint64(fnvBasis)
	for i := range ls {
		h = hashText(h, ls[i].Name)
		h = hashText(h, ls[i].Value)
	}
	return h
}

func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xFF) * fnvPrime
}

// scanLabels appends the labels of a JSON object, as the store keeps it, to ls, which is empty, and says their fingerprint. Names
// and values are parts of text where nothing in it is escaped.
func scanLabels(ls []tocsin.Label, text string) ([]tocsin.Label, uint64) {
	plain, ok := scanPlain(ls, text)
	if ok {
		return plain, fingerprint(plain)
	}
	var kept tocsin.Labels
	err := json.Unmarshal([]byte(text), &kept)
	if err != nil {
		return ls, fingerprint(nil) // the store writes what it reads: there is no such row
	}
	ls = append(ls, kept...)
	return ls, fingerprint(ls)
}

// scanPlain reads an object of strings without escapes and without blanks between them.
func scanPlain(ls []tocsin.Label, text string) (_ []tocsin.Label, ok bool) {
	if text == "{}" {
		return ls, true
	}
	if len(text) < 2 || text[0] != '{' || strings.IndexByte(text, '\\') >= 0 {
		return ls[:0], false
	}
	for rest := text[1:]; ; {
		name, after, ok := quotedText(rest)
		if !ok || after == "" || after[0] != ':' {
			return ls[:0], false
		}
		value, after, ok := quotedText(after[1:])
		if !ok || after == "" || value == "" {
			return ls[:0], false
		}
		if n := len(ls); n > 0 && ls[n-1].Name >= name {
			return ls[:0], false
		}
		ls = append(ls, tocsin.Label{Name: name, Value: value})
		switch {
		case after == "}":
			return ls, true
		case after[0] != ',':
			return ls[:0], false
		}
		rest = after[1:]
	}
}

// quotedText cuts a string in quotes from the front of s.
func quotedText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	return s[1 : 1+end], s[end+2:], true
}

// appendHex appends 16 digits.
func appendHex(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // what is not UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// A clockText writes times as Alertmanager does, and remembers the second it wrote last: neighbours in a listing share it.
type clockText struct {
	second int64
	text   [len("2006-01-02T15:04:05")]byte
}

// append appends t in UTC, with milliseconds. Years from 1 to 9999 have four digits; what the store keeps is within them.
func (c *clockText) append(b []byte, t time.Time) []byte {
	second := t.Unix()
	if second != c.second || c.text[0] == 0 {
		var buf [64]byte
		copy(c.text[:], t.UTC().AppendFormat(buf[:0], "2006-01-02T15:04:05"))
		c.second = second
	}
	ms := t.Nanosecond() / int(time.Millisecond)
	b = append(b, c.text[:]...)
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}
