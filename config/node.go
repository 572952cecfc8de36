package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// What a node of the document is.
type kind uint8

const (
	empty   kind = iota // nothing, ~ or null
	text                // a string, quoted or not
	number              // an unquoted whole number
	decimal             // an unquoted number with a fraction
	boolean             // true or false
	list
	table
	broken // it was complained of already: nothing more is said of it
)

func (k kind) String() string {
	return [...]string{"nothing", "a text", "a number", "a number", "true or false", "a list", "a map", "a mistake"}[k]
}

// A node is one value of the document, after aliases and merge keys, with its place.
type node struct {
	kind    kind
	at      Place
	said    string // scalars: the value without quotes
	inset   int    // columns from at to the first character of said; -1: the value has escapes or several lines
	items   []*node
	entries []entry
}

// An entry is one line of a map.
type entry struct {
	key   string
	plain bool  // the key is a text; false: an unquoted number or word of YAML
	at    Place // of the key; its Path is the path of the value
	value *node
}

// Bounds of a document, so that no file costs more than a moment.
const (
	maxBytes   = 4 << 20
	maxTokens  = 200_000
	maxNodes   = 100_000 // after aliases
	maxEntries = 10_000  // of one map: the library's time grows with their square
	maxDepth   = 64
)

// A builder makes nodes of a parsed file.
type builder struct {
	file    string
	anchors map[string]ast.Node
	nodes   int
	full    bool // the bound was met and said
	report  func(Problem)
}

func (b *builder) problem(at Place, message, hint string) {
	b.report(Problem{Place: at, Message: message, Hint: hint})
}

func (b *builder) place(tk *token.Token, path string) Place {
	p := Place{File: b.file, Path: path}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}

// build makes a node of n, which stands at path. It never returns nil.
func (b *builder) build(n ast.Node, path string, depth int) *node {
	if n == nil {
		return &node{at: Place{File: b.file, Path: path}}
	}
	at := b.place(n.GetToken(), path)
	b.nodes++
	if b.nodes > maxNodes || depth > maxDepth {
		if !b.full {
			b.full = true
			b.problem(at, fmt.Sprintf("the file says more than %d things or nests deeper than %d", maxNodes, maxDepth), "aliases of aliases multiply; split the file by include")
		}
		return &node{at: at}
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		out := b.build(v.Value, path, depth+1)
		b.anchors[v.Name.GetToken().Value] = v.Value
		return out
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		target, ok := b.anchors[name]
		if !ok {
			b.problem(at, fmt.Sprintf("alias *%s: no anchor &%s stands before it", name, name), meant(name, "anchors", keysOf(b.anchors)))
			return &node{kind: broken, at: at}
		}
		return b.build(target, path, depth+1)
	case *ast.TagNode:
		if v.Start.Value != "!!str" {
			b.problem(at, fmt.Sprintf("tag %s is not used here", v.Start.Value), "leave it out")
			return &node{kind: broken, at: at}
		}
		out := b.build(v.Value, path, depth+1)
		out.kind = text
		return out
	case *ast.MappingNode:
		return b.table(v.Values, v.IsFlowStyle, at, path, depth)
	case *ast.MappingValueNode:
		return b.table([]*ast.MappingValueNode{v}, false, at, path, depth)
	case *ast.SequenceNode:
		out := &node{kind: list, at: at}
		for i, x := range v.Values {
			here := path + "[" + strconv.Itoa(i) + "]"
			if whole, ok := glued(x); ok {
				out.items = append(out.items, &node{kind: text, at: b.place(x.GetToken(), here), said: whole, inset: -1})
				out.items[i].at.Column -= strings.Index(whole, ":")
				continue
			}
			out.items = append(out.items, b.build(x, here, depth+1))
		}
		return out
	case *ast.LiteralNode:
		out := &node{kind: text, at: at, inset: -1}
		if v.Value != nil {
			out.said = v.Value.Value
		}
		return out
	}
	return b.scalar(n, at)
}

func (b *builder) scalar(n ast.Node, at Place) *node {
	tk := n.GetToken()
	out := &node{at: at, said: tk.Value}
	switch n.(type) {
	case *ast.StringNode:
		out.kind = text
		written := strings.TrimSpace(tk.Origin)
		switch {
		case tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType:
			out.inset = 1
			if len(written) != len(out.said)+2 {
				out.inset = -1
			}
		case written != out.said:
			out.inset = -1
		}
	case *ast.IntegerNode:
		out.kind = number
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind = decimal
	case *ast.BoolNode:
		out.kind = boolean
	case *ast.NullNode:
		out.kind, out.said = empty, ""
	default:
		out.kind = broken
		b.problem(at, "this is no value", "write a text, a number, a list or a map")
	}
	return out
}

func (b *builder) table(values []*ast.MappingValueNode, flow bool, at Place, path string, depth int) *node {
	out := &node{kind: table, at: at}
	seen := map[string]Place{}
	var merged []entry
	for i, v := range values {
		key := b.key(v.Key)
		if !flow && i == 0 {
			out.at.Line, out.at.Column = key.at.Line, key.at.Column
		}
		if v.Key.IsMergeKey() {
			merged = append(merged, b.merged(v.Value, path, depth)...)
			continue
		}
		key.at.Path = join(path, key.key)
		if first, twice := seen[key.key]; twice {
			b.problem(key.at, fmt.Sprintf("%q stands twice, first in line %d", key.key, first.Line), "keep one of them")
			continue
		}
		seen[key.key] = key.at
		key.value = b.build(v.Value, key.at.Path, depth+1)
		out.entries = append(out.entries, key)
	}
	for _, e := range merged { // what the map says itself wins, then the first that is merged in
		if _, said := seen[e.key]; !said {
			seen[e.key] = e.at
			out.entries = append(out.entries, e)
		}
	}
	return out
}

// glued puts together what the parser takes apart: in a list inside {} it makes a map of host:port, which YAML says is one
// text, as there is no space after the colon.
func glued(n ast.Node) (string, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok || m.IsFlowStyle || len(m.Values) != 1 || m.Values[0].Value == nil {
		return "", false
	}
	key, colon, value := m.Values[0].Key.GetToken(), m.Values[0].GetToken(), m.Values[0].Value.GetToken()
	if key.Type == token.SingleQuoteType || key.Type == token.DoubleQuoteType || colon.Value != ":" {
		return "", false
	}
	if _, scalar := m.Values[0].Value.(ast.ScalarNode); !scalar || value.Type == token.SingleQuoteType || value.Type == token.DoubleQuoteType {
		return "", false
	}
	k, c, v := key.Position, colon.Position, value.Position
	apart := k.Line != c.Line || c.Line != v.Line || k.Column+utf8.RuneCountInString(key.Value) != c.Column || c.Column+1 != v.Column
	return key.Value + ":" + value.Value, !apart
}

func (b *builder) key(k ast.MapKeyNode) entry {
	var n ast.Node = k
	if q, ok := k.(*ast.MappingKeyNode); ok && q.Value != nil {
		n = q.Value
	}
	e := entry{key: n.GetToken().Value, at: b.place(n.GetToken(), "")}
	_, e.plain = n.(*ast.StringNode)
	return e
}

// merged returns the entries of what << names: a map, an alias of one, or a list of them.
func (b *builder) merged(n ast.Node, path string, depth int) []entry {
	sources := []ast.Node{n}
	if l, ok := n.(*ast.SequenceNode); ok {
		sources = l.Values
	}
	var out []entry
	for _, s := range sources {
		from := b.build(s, path, depth+1)
		if from.kind == table {
			out = append(out, from.entries...)
		} else if from.kind != empty && from.kind != broken {
			b.problem(from.at, "<< merges maps, this is "+from.kind.String(), "name the anchor of a map")
		}
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
