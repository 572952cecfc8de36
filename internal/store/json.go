package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"tocsin"
)

// appendLabels writes ls as one JSON object in their order, as column text and as answers to Alertmanager's clients.
func appendLabels(b []byte, ls tocsin.Labels) []byte {
	b = append(b, '{')
	for i := range ls {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, ls[i].Name)
		b = append(b, ':')
		b = appendString(b, ls[i].Value)
	}
	return append(b, '}')
}

// appendString writes s as a JSON string. What is not UTF-8 becomes U+FFFD, as in encoding/json; front doors refuse it before.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendHard(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendHard writes a string that has something to escape, or might have.
func appendHard(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
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

// parseLabels reads what appendLabels wrote. Names and values are parts of text, or what keep gives for them where it is
// not nil. Anything else that is JSON goes through encoding/json.
func parseLabels(text string, keep func(string) string) (tocsin.Labels, error) {
	if text == "" || text == "{}" {
		return nil, nil
	}
	ls, ok := parsePlain(text, keep)
	if ok {
		return ls, nil
	}
	err := json.Unmarshal([]byte(text), &ls)
	if err != nil {
		return nil, fmt.Errorf("column of labels: %w", err)
	}
	return ls, nil
}

// parsePlain reads an object of strings without escapes and without spaces between them; ok is false for any other text.
func parsePlain(text string, keep func(string) string) (ls tocsin.Labels, ok bool) {
	if text[0] != '{' || text[len(text)-1] != '}' || strings.IndexByte(text, '\\') >= 0 {
		return nil, false
	}
	ls = make(tocsin.Labels, 0, strings.Count(text, `":"`))
	for rest := text[1:]; ; {
		name, after, ok := quoted(rest)
		if !ok || after == "" || after[0] != ':' {
			return nil, false
		}
		value, after, ok := quoted(after[1:])
		if !ok || after == "" {
			return nil, false
		}
		if keep != nil {
			name, value = keep(name), keep(value)
		}
		if n := len(ls); value == "" || n > 0 && ls[n-1].Name >= name {
			return nil, false
		}
		ls = append(ls, tocsin.Label{Name: name, Value: value})
		if after == "}" {
			return ls, true
		}
		if after[0] != ',' {
			return nil, false
		}
		rest = after[1:]
	}
}

// quoted cuts a string in quotes, without escapes or control characters, from the front of s.
func quoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	text = s[1 : 1+end]
	for i := range len(text) {
		if text[i] < 0x20 {
			return "", "", false
		}
		if text[i] >= utf8.RuneSelf {
			return text, s[end+2:], utf8.ValidString(text)
		}
	}
	return text, s[end+2:], true
}

// toJSON is for values whose types cannot fail to be written.
func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write column of JSON: %w", err)
	}
	return string(b), nil
}

// fromJSON reads a column; "" leaves v as it is.
func fromJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	err := json.Unmarshal([]byte(text), v)
	if err != nil {
		return fmt.Errorf("column of JSON: %w", err)
	}
	return nil
}
