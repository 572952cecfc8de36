package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tocsin/ingest"
)

// maxDepth is how many levels a body may have.
const maxDepth = 100

// decode returns what body holds: map[string]any, []any, string, bool, int, float64 or nil. It is strict: see the package.
func decode(body []byte) (any, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	switch _, err = d.ReadToken(); {
	case err == nil:
		return nil, errors.New("more stands behind the end of the JSON")
	case d.InputOffset() < int64(len(bytes.TrimRight(body, " \t\r\n"))):
		return nil, syntax(d, err)
	}
	return v, nil
}

func value(d *jsontext.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("byte %d: over %d levels deep", d.InputOffset(), maxDepth)
	}
	tok, err := d.ReadToken()
	if err != nil {
		return nil, syntax(d, err)
	}
	switch tok.Kind() {
	case '{':
		return object(d, depth)
	case '[':
		return array(d, depth)
	case '"':
		return tok.String(), nil
	case '0':
		return number(d, tok.String())
	case 't', 'f':
		return tok.Bool(), nil
	}
	return nil, nil
}

func object(d *jsontext.Decoder, depth int) (any, error) {
	all := map[string]any{}
	folded := map[string]string{}
	for d.PeekKind() != '}' {
		tok, err := d.ReadToken()
		if err != nil {
			return nil, syntax(d, err)
		}
		name := tok.String()
		other, taken := folded[strings.ToLower(name)]
		if taken {
			return nil, fmt.Errorf("byte %d: names %q and %q differ only in case", d.InputOffset(), ingest.Cut(other, 64), ingest.Cut(name, 64))
		}
		folded[strings.ToLower(name)] = name
		all[name], err = value(d, depth+1)
		if err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	if err != nil {
		return nil, syntax(d, err)
	}
	return all, nil
}

func array(d *jsontext.Decoder, depth int) (any, error) {
	all := []any{}
	for d.PeekKind() != ']' {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		if len(all) > maxItems {
			return nil, fmt.Errorf("byte %d: a list of over %d elements", d.InputOffset(), maxItems)
		}
	}
	_, err := d.ReadToken()
	if err != nil {
		return nil, syntax(d, err)
	}
	return all, nil
}

// number returns an int where text is a whole number, else a float64.
func number(d *jsontext.Decoder, text string) (any, error) {
	if len(text) > ingest.MaxNumber {
		return nil, fmt.Errorf("byte %d: a number of %d characters: at most %d", d.InputOffset(), len(text), ingest.MaxNumber)
	}
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("byte %d: %s has more than 64 bits: send it as a text", d.InputOffset(), text)
		}
		return int(n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("byte %d: number %s is too large", d.InputOffset(), text)
	}
	return f, nil
}

// syntax words jsontext's error as the other doors do.
func syntax(d *jsontext.Decoder, err error) error {
	offset := d.InputOffset()
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, err = s.ByteOffset, s.Err
		if errors.Is(err, jsontext.ErrDuplicateName) {
			err = fmt.Errorf("a name stands twice: %s", s.JSONPointer)
		}
	}
	return fmt.Errorf("byte %d: %w", offset, err)
}

// text returns a text, number or bool as a text.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", errors.New("the number has no value")
		}
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", errors.New("a text is due, not " + kindOf(v))
}

// kindOf names the kind of v in the words of JSON.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "an object"
	case []any, []string:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	}
	return fmt.Sprintf("%T", v)
}
