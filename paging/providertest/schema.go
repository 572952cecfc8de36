package providertest

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

//go:embed spec/twilio.json spec/sendgrid.json
var specs embed.FS

// A description is one OpenAPI file.
type description struct {
	doc      map[string]any
	patterns sync.Map // pattern: *regexp.Regexp
}

func describe(file string) (*description, error) {
	b, err := specs.ReadFile("spec/" + file)
	if err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	d := &description{}
	if err = json.Unmarshal(b, &d.doc); err != nil {
		return nil, fmt.Errorf("description %s: %w", file, err)
	}
	return d, nil
}

// An operation is one method of one path.
type operation struct {
	id     string
	spec   map[string]any
	params map[string]string // of the path
}

// find returns the operation for a method and path; known: whether the path is there with another method.
func (d *description) find(method, path string) (op *operation, known bool) {
	for pattern, item := range at(d.doc, "paths") {
		params, ok := match(pattern, path)
		if !ok {
			continue
		}
		known = true
		if spec, ok := item.(map[string]any)[strings.ToLower(method)].(map[string]any); ok {
			id, _ := spec["operationId"].(string)
			return &operation{id: id, spec: spec, params: params}, true
		}
	}
	return nil, known
}

func match(pattern, path string) (map[string]string, bool) {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(q) {
		return nil, false
	}
	params := map[string]string{}
	for i := range p {
		name, rest, isParam := strings.Cut(strings.TrimPrefix(p[i], "{"), "}")
		if !strings.HasPrefix(p[i], "{") || !isParam {
			if p[i] != q[i] {
				return nil, false
			}
			continue
		}
		value, ok := strings.CutSuffix(q[i], rest)
		if !ok || value == "" {
			return nil, false
		}
		params[name] = value
	}
	return params, true
}

// checkParams checks the path's and the query's parameters.
func (d *description) checkParams(op *operation, query url.Values) (problems []string) {
	known := map[string]bool{}
	list, _ := op.spec["parameters"].([]any)
	for _, raw := range list {
		p := d.resolve(raw)
		name, _ := p["name"].(string)
		schema := d.resolve(p["schema"])
		switch p["in"] {
		case "path":
			problems = append(problems, d.checkText(name, op.params[name], schema)...)
		case "query":
			known[name] = true
			if values, ok := query[name]; ok {
				problems = append(problems, d.checkField(name, values, schema)...)
			} else if p["required"] == true {
				problems = append(problems, name+": is missing")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !known[name] {
			problems = append(problems, name+": is no parameter of "+op.id)
		}
	}
	return problems
}

// checkForm checks a form against the operation's body.
func (d *description) checkForm(op *operation, form url.Values) (problems []string) {
	schema := d.body(op, "application/x-www-form-urlencoded")
	if schema == nil {
		return []string{"no form belongs here"}
	}
	props := at(schema, "properties")
	for _, name := range slices.Sorted(maps.Keys(form)) {
		prop, ok := props[name]
		if !ok {
			problems = append(problems, name+": is no field of "+op.id)
			continue
		}
		problems = append(problems, d.checkField(name, form[name], d.resolve(prop))...)
	}
	required, _ := schema["required"].([]any)
	for _, r := range required {
		if _, ok := form[r.(string)]; !ok {
			problems = append(problems, r.(string)+": is missing")
		}
	}
	return problems
}

func (d *description) body(op *operation, kind string) map[string]any {
	b := d.resolve(op.spec["requestBody"])
	media, ok := at(b, "content")[kind].(map[string]any)
	if !ok {
		return nil
	}
	return d.resolve(media["schema"])
}

func (d *description) checkField(name string, values []string, schema map[string]any) (problems []string) {
	if schema["type"] == "array" {
		for _, v := range values {
			problems = append(problems, d.checkText(name, v, d.resolve(schema["items"]))...)
		}
		return problems
	}
	if len(values) != 1 {
		return []string{fmt.Sprintf("%s: stands %d times", name, len(values))}
	}
	return d.checkText(name, values[0], schema)
}

// checkText checks a form's or an address's text, which carries numbers and booleans as text.
func (d *description) checkText(name, text string, schema map[string]any) []string {
	var v any = text
	switch schema["type"] {
	case "integer":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return []string{name + ": is no integer"}
		}
		v = float64(n)
	case "number":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return []string{name + ": is no number"}
		}
		v = n
	case "boolean":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return []string{name + ": is no boolean"}
		}
		v = b
	}
	return d.check(name, v, schema)
}

// check checks a decoded JSON value against a schema: the keywords that these descriptions use.
func (d *description) check(name string, v any, schema map[string]any) (problems []string) {
	schema = d.resolve(schema)
	bad := func(format string, args ...any) {
		problems = append(problems, name+": "+fmt.Sprintf(format, args...))
	}
	if v == nil {
		if schema["nullable"] != true {
			bad("is null")
		}
		return problems
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		bad("%v is none of %v", v, enum)
	}
	switch schema["type"] {
	case "string":
		s, ok := v.(string)
		if !ok {
			bad("is no string")
			break
		}
		problems = append(problems, d.checkString(name, s, schema)...)
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || schema["type"] == "integer" && n != float64(int64(n)) {
			bad("is no %s", schema["type"])
			break
		}
		if low, ok := schema["minimum"].(float64); ok && n < low {
			bad("%v is below %v", n, low)
		}
		if high, ok := schema["maximum"].(float64); ok && n > high {
			bad("%v is above %v", n, high)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad("is no boolean")
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			bad("is no array")
			break
		}
		if most, ok := schema["maxItems"].(float64); ok && len(list) > int(most) {
			bad("has more than %v items", most)
		}
		for i, x := range list {
			problems = append(problems, d.check(fmt.Sprintf("%s[%d]", name, i), x, d.resolve(schema["items"]))...)
		}
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			bad("is no object")
			break
		}
		problems = append(problems, d.checkObject(name, m, schema)...)
	}
	return problems
}

func (d *description) checkObject(name string, m, schema map[string]any) (problems []string) {
	props := at(schema, "properties")
	if most, ok := schema["maxProperties"].(float64); ok && len(m) > int(most) {
		problems = append(problems, fmt.Sprintf("%s: has more than %v properties", name, most))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if prop, ok := props[k]; ok {
			problems = append(problems, d.check(name+"."+k, m[k], d.resolve(prop))...)
		} else if extra, ok := schema["additionalProperties"].(map[string]any); ok {
			problems = append(problems, d.check(name+"."+k, m[k], d.resolve(extra))...)
		} else if len(props) > 0 { // stricter than the description: a misspelt name is our mistake
			problems = append(problems, name+"."+k+": is no property")
		}
	}
	required, _ := schema["required"].([]any)
	for _, r := range required {
		if _, ok := m[r.(string)]; !ok {
			problems = append(problems, name+"."+r.(string)+": is missing")
		}
	}
	return problems
}

func (d *description) matches(pattern, s string) bool {
	if re, ok := d.patterns.Load(pattern); ok {
		return re.(*regexp.Regexp).MatchString(s)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	d.patterns.Store(pattern, re)
	return re.MatchString(s)
}

func (d *description) checkString(name, s string, schema map[string]any) (problems []string) {
	bad := func(format string, args ...any) {
		problems = append(problems, name+": "+fmt.Sprintf(format, args...))
	}
	n := utf8.RuneCountInString(s)
	if low, ok := schema["minLength"].(float64); ok && n < int(low) {
		bad("has %d characters, fewer than %v", n, low)
	}
	if high, ok := schema["maxLength"].(float64); ok && n > int(high) {
		bad("has %d characters, more than %v", n, high)
	}
	if p, ok := schema["pattern"].(string); ok {
		if !d.matches(p, s) {
			bad("%q does not match %s", s, p)
		}
	}
	var err error
	switch schema["format"] {
	case "uri":
		var u *url.URL
		if u, err = url.Parse(s); err == nil && u.Scheme == "" && !strings.HasPrefix(s, "/") {
			bad("%q is no address", s)
		}
	case "http-method":
		if s != "GET" && s != "POST" && s != "HEAD" && s != "PATCH" && s != "PUT" && s != "DELETE" {
			bad("%q is no method", s)
		}
	case "date-time":
		_, err = time.Parse(time.RFC3339, s)
	case "date-time-rfc-2822":
		_, err = time.Parse(time.RFC1123Z, s)
	case "email":
		_, err = mail.ParseAddress(s)
	case "twiml":
		if n > 4000 {
			bad("has %d characters, a call carries 4000", n)
		}
	}
	if err != nil {
		bad("%v", err)
	}
	return problems
}

// resolve follows $ref.
func (d *description) resolve(v any) map[string]any {
	m, _ := v.(map[string]any)
	for range 10 {
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		var next any = d.doc
		for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			part, _ := next.(map[string]any)
			next = part[step]
		}
		m, _ = next.(map[string]any)
	}
	return m
}

func at(m map[string]any, key string) map[string]any {
	v, _ := m[key].(map[string]any)
	return v
}
