package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// table prints rows below a header, each column as wide as it has to be.
func table(w io.Writer, header []string, rows [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = orDash(clean(c))
		}
		_, err := io.WriteString(t, strings.Join(cells, "\t")+"\n")
		if err != nil {
			return err
		}
	}
	err := t.Flush()
	if err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		_, err = io.WriteString(w, strings.TrimRight(line, " \n")+"\n")
		if err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean makes one harmless line of a text that a sender chose: what would move the cursor, colour the terminal or turn the
// direction of writing becomes a question mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, s)
}

// short cuts s to at most n characters.
func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// newEncoder returns an encoder of documents that people may read too.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e
}
