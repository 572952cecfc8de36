package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// document reads one file into nodes; what is wrong with it as YAML goes to report. ok is false when there is nothing to
// read on with: then at least one problem was reported.
func document(name string, data []byte, report func(Problem)) (root *node, ok bool) {
	file := Place{File: name}
	fail := func(at Place, message, hint string) (*node, bool) {
		report(Problem{Place: at, Message: message, Hint: hint})
		return nil, false
	}
	if len(data) > maxBytes {
		return fail(file, fmt.Sprintf("the file is longer than %d MiB", maxBytes>>20), "split it by include")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		file.Line, file.Column = firstInvalid(data)
		return fail(file, "the file is not UTF-8 text", "save it as UTF-8")
	}
	tree, err := parseYAML(data)
	if syntax, isSyntax := errors.AsType[*yaml.SyntaxError](err); isSyntax {
		if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
			file.Line, file.Column = tk.Position.Line, tk.Position.Column
		}
		return fail(file, "this is not YAML: "+strings.ReplaceAll(syntax.GetMessage(), "\t", "TAB"), cureOf(syntax.GetMessage()))
	}
	if err != nil {
		return fail(file, err.Error(), "split the file by include")
	}
	b := &builder{file: name, anchors: map[string]ast.Node{}, report: report}
	var bodies []ast.Node
	for _, d := range tree.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) == 0 {
		return fail(file, "the file is empty", "serve without a file starts with a set-up to begin from")
	}
	if len(bodies) > 1 {
		at := b.place(bodies[1].GetToken(), "")
		at.Column = 1
		b.problem(at, "a second document begins here and is not read", "one file is one document: remove the --- line")
	}
	root = b.build(bodies[0], "", 0)
	if b.full {
		return nil, false
	}
	if root.kind != table {
		return fail(root.at, "the file is "+root.kind.String()+", not a map of sections", "begin with a section such as server:")
	}
	return root, true
}

// parseYAML is the library's parser within bounds: what it would take long for, or nest too deep in, is refused before.
func parseYAML(data []byte) (tree *ast.File, err error) {
	defer func() {
		// A parser of other people's making met bytes it was not made for. A configuration must never end a running server.
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("this cannot be read as YAML: %v", r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	line, run, flow := 0, 0, 0
	entries := map[int]int{} // by column, of the block maps that are open there
	for i, tk := range tokens {
		if i >= maxTokens {
			return nil, fmt.Errorf("the file has more than %d words and signs", maxTokens)
		}
		if tk.Position.Line != line {
			line, run = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.MappingValueType:
			if flow <= 0 && i > 0 {
				column := tokens[i-1].Position.Column
				maps.DeleteFunc(entries, func(c, _ int) bool { return c > column })
				entries[column]++
				if entries[column] > maxEntries {
					return nil, fmt.Errorf("the map that ends in line %d or after has more than %d entries", line, maxEntries)
				}
			}
		case token.SequenceEntryType:
			run++
			maps.DeleteFunc(entries, func(c, _ int) bool { return c > tk.Position.Column })
		case token.MappingKeyType, token.AnchorType, token.TagType:
			run++
		}
		if flow > maxDepth || run > maxDepth {
			return nil, fmt.Errorf("line %d nests deeper than %d", line, maxDepth)
		}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// firstInvalid returns where data stops being UTF-8.
func firstInvalid(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n <= 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[n:]
	}
	return line, column
}

// cureOf translates the parser's complaint into what to do about it.
func cureOf(message string) string {
	for _, c := range []struct{ sign, cure string }{
		{"tab character", "indent with spaces"},
		{"\t", "indent with spaces"},
		{"end token", "close the bracket"},
		{"end character", "close the quote"},
		{"reserved character", "put the value in quotes"},
		{"escape character", "in double quotes a backslash needs a second one; single quotes take it as it is"},
		{"mapping value is not allowed", "a value with a colon and a space needs quotes"},
		{"not allowed in this context", "check the indentation of this line against those above"},
		{"unexpected scalar value type", "an anchor and an alias cannot stand together"},
	} {
		if strings.Contains(message, c.sign) {
			return c.cure
		}
	}
	return "check quotes, brackets and indentation here and just before"
}
