package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func TestScannerRefusesWhatIsNoStrictJSON(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for name, tc := range map[string]struct{ body, want string }{
		"an empty body":                {"", "byte 0: the body is empty"},
		"a blank body":                 {" \n\t ", "byte 4: the body is empty"},
		"a byte order mark":            {"\xef\xbb\xbf[]", "byte 0: a byte order mark: send UTF-8 without one"},
		"UTF-16 with a mark":           {"\xff\xfe[\x00]\x00", "byte 0: UTF-16 or UTF-32: send UTF-8"},
		"UTF-16 without a mark":        {"[\x00]\x00", "byte 0: UTF-16 or UTF-32: send UTF-8"},
		"UTF-16, big end first":        {"\x00[\x00]", "byte 0: UTF-16 or UTF-32: send UTF-8"},
		"text that is not UTF-8":       {"[\"a\xff\"]", "byte 2: text that is not UTF-8"},
		"the same in a longer text":    {"[\"12345678\xff\x80345678\"]", "byte 2: text that is not UTF-8"},
		"the same behind an escape":    {"[\"\\n\xff\"]", "byte 2: text that is not UTF-8"},
		"a surrogate alone":            {`["\ud800"]`, "byte 2: text: invalid surrogate pair `\\ud800\"` in string"},
		"a raw NUL":                    {"[\"a\x00\"]", "byte 3: control character 0x00 in a text: it has to be escaped"},
		"a raw line break":             {"[\"12345678\n\"]", "byte 10: control character 0x0a in a text: it has to be escaped"},
		"a bad escape":                 {`["\x"]`, "byte 2: text: invalid escape sequence `\\x` in string"},
		"a text cut off":               {`["abc`, "byte 5: the body ends within a text"},
		"a text cut off in an escape":  {`["abc\`, "byte 6: the body ends within a text"},
		"a list cut off":               {`["abc"`, "byte 6: the body ends where a comma or the end of the list is due"},
		"a comma too many":             {`[1,]`, "byte 3: a value behind the comma is due, not ']'"},
		"a comma too few":              {`[1 2]`, "byte 3: a comma or the end of the list is due, not '2'"},
		"a name without quotes":        {`{a:1}`, "byte 1: a name in quotes is due, not 'a'"},
		"a name without a value":       {`{"a"}`, "byte 4: a colon is due, not '}'"},
		"more behind the end":          {`[] []`, "byte 3: more stands behind the end of the JSON"},
		"a number too large":           {`[1e400]`, "byte 6: number 1e400 is too large"},
		"a number too long":            {"[1" + strings.Repeat("0", 100) + "]", "byte 102: a number of 101 characters: at most 64"},
		"a number in depth too large":  {`[{"a":[-1e999]}]`, "byte 13: number -1e999 is too large"},
		"a doubled name in a value":    {`[{"a":{"b":1,"b":2}}]`, "byte 13: a name stands twice: /a/b"},
		"a hundred thousand levels":    {deep, "byte 10000: exceeded max depth"},
		"the same with every end":      {deep + strings.Repeat("]", 100_000), "byte 10000: exceeded max depth"},
		"a hundred thousand objects":   {strings.Repeat(`{"a":`, 100_000), "byte 50000: exceeded max depth"},
		"no JSON at all":               {`hello`, "byte 0: invalid character 'h' at start of value"},
		"a word that is nearly a word": {`[nul]`, "byte 4: invalid character ']' in literal null (expecting 'l')"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			got := "taken"
			if err := skipAll([]byte(tc.body)); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("scan\n got %s\nwant %s", got, tc.want)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// skipAll reads body one level deep and skips the rest, as parsers do.
func skipAll(body []byte) error {
	var s Scanner
	s.Reset(body)
	switch {
	case s.Err() != nil:
	case len(body) > 1 && (body[1] == '[' || bytes.HasPrefix(body, []byte(`{"a":{`))):
		s.Skip()
	case s.Array():
		for s.Element() {
			s.Skip()
		}
	case s.Object():
		for {
			if _, ok := s.Field(); !ok {
				break
			}
			s.Skip()
		}
	default:
		s.Skip()
	}
	s.End()
	return s.Err()
}

func TestTextsAreReadAsTheyWereMeant(t *testing.T) {
	for _, tc := range []struct{ json, want string }{
		{`""`, ""},
		{`"plain"`, "plain"},
		{`"exactly8"`, "exactly8"},
		{`"sixteen letters!"`, "sixteen letters!"},
		{`"käse → 🧀"`, "käse → 🧀"},
		{`"a \"quoted\" word, a \\ and a \/"`, `a "quoted" word, a \ and a /`},
		{`"\b\f\n\r\t"`, "\b\f\n\r\t"},
		{`"\u0000\u202e\ud83e\uddc0"`, "\x00\u202e🧀"},
		{`"before \" ü after"`, `before " ü after`},
		{"\"\x7f\"", "\x7f"},
	} {
		var s Scanner
		s.Reset([]byte(tc.json))
		got, _, ok := s.Text()
		s.End()
		if !ok || s.Err() != nil || got != tc.want {
			t.Errorf("text of %s = %q, %v, want %q", tc.json, got, s.Err(), tc.want)
		}
	}
}

// FuzzScanner holds the Scanner to jsontext: the same bodies are taken, and the same is read from them.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"", "[]", `{"a":"b"}`, `[{"labels":{"a":"\u00e4\"x"},"n":[1,2.5e3,null,true]}]`, `{"a":1,"a":2}`, "[\"a\xff\"]", `["\ud800\udc00"]`,
		`"12345678\\"`, `[1,]`, `[1e400]`, "{\"a\"\t:\r\n1 , \"b\":[ ] }", `["\ud800"]`, "\"\x1f\"", `["aaaaaaa\`, `{"":""}`, `[[[[]]]]`, `{"a":{"b":{"b":1}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4<<10 {
			return
		}
		want, wantErr := byTokens(body)
		for _, skip := range []bool{false, true} {
			var s Scanner
			var got strings.Builder
			s.Reset(body)
			walk(&s, &got, skip, 0)
			s.End()
			if (s.Err() == nil) != (wantErr == nil) {
				t.Fatalf("skip %t: scanner says %v, jsontext %v of %q", skip, s.Err(), wantErr, body)
			}
			if !skip && wantErr == nil && got.String() != want {
				t.Fatalf("scanner reads %s, jsontext %s in %q", got.String(), want, body)
			}
		}
	})
}

// walk writes what s reads; with skip it leaves out what is two levels deep.
func walk(s *Scanner, out *strings.Builder, skip bool, depth int) {
	switch {
	case skip && depth == 2:
		s.Skip()
	case s.Array():
		out.WriteByte('[')
		for s.Element() {
			walk(s, out, skip, depth+1)
		}
		out.WriteByte(']')
	case s.Object():
		out.WriteByte('{')
		var names Names
		for {
			name, ok := s.Field()
			if !ok {
				break
			}
			if !names.Add(name) {
				s.Fail("doubled")
			}
			fmt.Fprintf(out, "%q:", name)
			walk(s, out, skip, depth+1)
		}
		out.WriteByte('}')
	default:
		v, plain, ok := s.Text()
		if !ok {
			out.WriteString(s.Value() + ",")
			return
		}
		if plain && strings.ContainsAny(v, "\"\\\x00\n") {
			s.Fail("not plain")
		}
		fmt.Fprintf(out, "%q,", v)
	}
}

// byTokens writes what jsontext reads, in the same form.
func byTokens(body []byte) (string, error) {
	var out strings.Builder
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	for values := 0; ; {
		if d.StackDepth() == 0 {
			values++
		}
		tok, err := d.ReadToken()
		if errors.Is(err, io.EOF) && values == 2 {
			return out.String(), nil
		}
		if err == nil && values > 1 {
			err = fmt.Errorf("more than one value")
		}
		if err != nil {
			return "", err
		}
		kind, n := d.StackIndex(d.StackDepth())
		switch tok.Kind() {
		case '{', '[', '}', ']':
			out.WriteString(tok.String())
			continue
		case '0':
			if badNumber(tok.String()) != "" {
				return "", fmt.Errorf("bad number")
			}
		case '"':
			if kind == '{' && n%2 == 1 {
				fmt.Fprintf(&out, "%q:", tok.String())
			} else {
				fmt.Fprintf(&out, "%q,", tok.String())
			}
			continue
		}
		out.WriteString(tok.String() + ",")
	}
}
