package ingest

import (
	"tocsin"
)

// LabelKey returns the identity of a label set: {name="value",...} in the order of names, which must be sorted. Different sets
// have different keys, whatever stands in them. plain says that no value has a quote, a backslash or a control character.
func (m *Message) LabelKey(ls tocsin.Labels, plain bool) string {
	b := append(m.key[:0], '{')
	for i := range ls {
		if i > 0 {
			b = append(b, ',')
		}
		if isWord(ls[i].Name) {
			b = append(b, ls[i].Name...)
		} else {
			b = appendQuoted(b, ls[i].Name)
		}
		b = append(b, '=')
		if plain {
			b = append(b, '"')
			b = append(b, ls[i].Value...)
			b = append(b, '"')
		} else {
			b = appendQuoted(b, ls[i].Value)
		}
	}
	b = append(b, '}')
	m.key = b
	return m.Scan.texts.add(b)
}

// isWord reports whether a name can stand without quotes.
func isWord(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// appendQuoted appends v in quotes; what stands in it can be told from what stands around it.
func appendQuoted(b []byte, v string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ', c == 0x7f:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
