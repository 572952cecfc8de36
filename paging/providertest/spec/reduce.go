//go:build ignore

// Reduce cuts a provider's OpenAPI file down to the paths we use and what they refer to, without prose and examples:
//
//	go run reduce.go IN.json OUT.json PATH...
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("use: reduce IN.json OUT.json PATH")
	}
	in, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var doc map[string]any
	if err = json.Unmarshal(in, &doc); err != nil {
		return err
	}
	all := doc["paths"].(map[string]any)
	paths := map[string]any{}
	for _, p := range args[2:] {
		if all[p] == nil {
			return fmt.Errorf("no path %s", p)
		}
		paths[p] = prune(all[p], false)
	}
	out := map[string]any{"openapi": doc["openapi"], "info": prune(doc["info"], false), "paths": paths, "components": map[string]any{}}
	for refs := find(paths, nil); len(refs) > 0; {
		ref := refs[0]
		refs = refs[1:]
		part, have := follow(doc, ref), follow(out, ref)
		if part == nil {
			return fmt.Errorf("no %s", ref)
		}
		if have == nil {
			part = prune(part, false)
			set(out, ref, part)
			refs = append(refs, find(part, nil)...)
		}
	}
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], append(b, '\n'), 0o644)
}

// prune drops prose, examples and extensions; names of properties are kept whatever they are.
func prune(v any, names bool) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			if !names && (k == "description" || k == "summary" || k == "example" || k == "examples" || k == "tags" || strings.HasPrefix(k, "x-")) {
				continue
			}
			m[k] = prune(x, k == "properties" && !names)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = prune(x, false)
		}
		return l
	}
	return v
}

func find(v any, refs []string) []string {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok && k == "$ref" {
				refs = append(refs, s)
				continue
			}
			refs = find(x, refs)
		}
	case []any:
		for _, x := range v {
			refs = find(x, refs)
		}
	}
	return refs
}

func steps(ref string) []string { return strings.Split(strings.TrimPrefix(ref, "#/"), "/") }

func follow(doc map[string]any, ref string) any {
	var v any = doc
	for _, s := range steps(ref) {
		m, _ := v.(map[string]any)
		v = m[s]
	}
	return v
}

func set(doc map[string]any, ref string, part any) {
	m := doc
	s := steps(ref)
	for _, k := range s[:len(s)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[k] = next
		}
		m = next
	}
	m[s[len(s)-1]] = part
}
