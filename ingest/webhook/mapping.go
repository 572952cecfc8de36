package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"tocsin"
	"tocsin/ingest"
)

// A Mapping says where in a body things are: each field is an expression, "" where there is none.
type Mapping struct {
	Each        string
	Key         string
	Status      string
	Severity    string
	Summary     string
	About       string
	URL         string
	StartsAt    string
	Labels      map[string]string // by label name
	Annotations map[string]string // by annotation name
}

// A FieldError is a mistake in one field of a mapping.
type FieldError struct {
	Field string // such as key or labels.host
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

func (e *FieldError) Unwrap() error { return e.Err }

// Bounds of one body, beyond those of package ingest.
const (
	maxItems = 10_000          // elements of one list, and so alerts
	maxTime  = 2 * time.Second // that all expressions of one body may take
	maxNodes = 500             // of one expression
)

// env is what expressions see.
type env struct {
	Body  any `expr:"body"`
	Item  any `expr:"item"`
	Index int `expr:"index"`
}

// A program is a Mapping that can be run.
type program struct {
	each, key, status, severity, summary, about, url, startsAt *vm.Program
	labels, annotations                                        []named
}

// A named is an expression that gives the value of a label or an annotation.
type named struct {
	name    string
	program *vm.Program
}

// Compile returns the parser that m is, or every mistake in m, joined; each is a *FieldError.
func Compile(m Mapping) (ingest.Parser, error) {
	var errs []error
	one := func(field, text string) *vm.Program {
		if strings.TrimSpace(text) == "" {
			return nil
		}
		p, err := compile(text, m.Each != "")
		if err != nil {
			errs = append(errs, &FieldError{field, err})
		}
		return p
	}
	several := func(field string, texts map[string]string) []named {
		var all []named
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			if why := ingest.CheckName(name); why != "" {
				errs = append(errs, &FieldError{field, errors.New(why)})
			}
			p := one(field+"."+name, texts[name])
			if p == nil && strings.TrimSpace(texts[name]) == "" {
				errs = append(errs, &FieldError{field + "." + name, errors.New("an expression is needed")})
			}
			all = append(all, named{name, p})
		}
		if len(all) > ingest.MaxLabels {
			errs = append(errs, &FieldError{field, fmt.Errorf("%d of them: at most %d", len(all), ingest.MaxLabels)})
		}
		return all
	}
	if strings.TrimSpace(m.Key) == "" {
		errs = append(errs, &FieldError{"key", errors.New("an expression is needed: it tells alerts apart")})
	}
	p := &program{
		each: one("each", m.Each), key: one("key", m.Key), status: one("status", m.Status), severity: one("severity", m.Severity),
		summary: one("summary", m.Summary), about: one("about", m.About), url: one("url", m.URL), startsAt: one("starts_at", m.StartsAt),
		labels: several("labels", m.Labels), annotations: several("annotations", m.Annotations),
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// allowed are the built-in functions that neither read anything but their arguments nor make more of them than they are.
var allowed = [...]string{
	"len", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "hasPrefix", "hasSuffix", "indexOf", "split", "string", "int", "float",
	"abs", "ceil", "floor", "round", "max", "min", "first", "last", "get", "type",
	"any", "all", "none", "filter", "map", "find", "count",
}

// compile compiles one expression; item and index stand for something only where there is a list.
func compile(text string, list bool) (*vm.Program, error) {
	check := &checker{list: list}
	options := []expr.Option{
		expr.Env(env{}), expr.AsAny(), expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes), expr.Patch(check),
		expr.Function("join", join, new(func([]any, string) string), new(func([]string, string) string)),
	}
	for _, name := range allowed {
		options = append(options, expr.EnableBuiltin(name))
	}
	p, err := expr.Compile(text, options...)
	if err != nil {
		return nil, err
	}
	return p, check.err
}

// A checker finds what would take more time than the body has bytes, and names that stand for nothing.
type checker struct {
	list bool
	err  error
}

// Visit is called with every node, the inner ones first.
func (c *checker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if !c.list && (n.Value == "item" || n.Value == "index") {
			c.err = fmt.Errorf("%s stands for something only where the mapping has each", n.Value)
		}
	case *ast.PredicateNode:
		inner := &loops{}
		ast.Walk(&n.Node, inner)
		if inner.found {
			c.err = errors.New("any, all, none, filter, map, find and count cannot stand inside one another")
		}
	case *ast.BinaryNode:
		if n.Operator == ".." {
			c.err = errors.New("ranges (..) are not available")
		}
	}
}

// loops finds predicates.
type loops struct{ found bool }

// Visit is called with every node.
func (l *loops) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		l.found = true
	}
}

// join is strings.Join with a bound: sender and rule together could make a small body into a large text.
func join(params ...any) (any, error) {
	sep, ok := params[1].(string)
	if !ok {
		return nil, errors.New("join: the separator has to be a text")
	}
	var b strings.Builder
	add := func(i int, v any) error {
		s, err := text(v)
		if err != nil {
			return fmt.Errorf("join: element %d: %w", i, err)
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
		if b.Len() > ingest.MaxAnnotation {
			return fmt.Errorf("join: over %d bytes", ingest.MaxAnnotation)
		}
		return nil
	}
	switch list := params[0].(type) {
	case []any:
		for i, v := range list {
			if err := add(i, v); err != nil {
				return nil, err
			}
		}
	case []string:
		for i, v := range list {
			if err := add(i, v); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errors.New("join: a list is needed")
	}
	return b.String(), nil
}

// Parse makes the events that p finds in the body.
func (p *program) Parse(ctx context.Context, m *ingest.Message) error {
	body, err := decode(m.Body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	run := &run{program: p, message: m, env: env{Body: body}}
	if p.each == nil {
		run.item()
		return nil
	}
	list, err := expr.Run(p.each, run.env)
	if err != nil {
		return fmt.Errorf("each: %s", oneLine(err))
	}
	items, ok := list.([]any)
	if !ok {
		return fmt.Errorf("each: a list is due, not %s", kindOf(list))
	}
	if len(items) > maxItems {
		return fmt.Errorf("each: %d alerts: at most %d", len(items), maxItems)
	}
	for i, item := range items {
		if ctx.Err() != nil {
			return fmt.Errorf("each: the expressions took more than %s", maxTime)
		}
		run.env.Item, run.env.Index = item, i
		run.item()
	}
	return nil
}

// A run is one body on its way through a program.
type run struct {
	program *program
	message *ingest.Message
	env     env
	machine vm.VM
	bad     *ingest.ItemError // why the present item is refused; the first reason counts
}

// item appends the event that the present item makes, or refuses it.
func (r *run) item() {
	p, m := r.program, r.message
	r.bad = nil
	key := r.text("key", p.key, ingest.MaxValue)
	if strings.TrimSpace(key) == "" {
		r.wrong("key", "gave nothing")
	}
	word := r.text("severity", p.severity, ingest.MaxName)
	severity, _ := m.Source.SeverityOf(word)
	e := tocsin.Event{
		Source:      m.Source.Name,
		Key:         key,
		Fingerprint: tocsin.FingerprintOf(m.Scope, key),
		Status:      r.status(),
		Severity:    severity,
		Word:        word,
		Summary:     ingest.Line(r.text("summary", p.summary, ingest.MaxAnnotation)),
		About:       r.text("about", p.about, ingest.MaxValue),
		Labels:      m.Merge(r.all("labels", p.labels, ingest.MaxValue)),
		Annotations: r.all("annotations", p.annotations, ingest.MaxAnnotation),
		URL:         r.text("url", p.url, ingest.MaxURL),
		StartsAt:    r.time("starts_at", p.startsAt),
	}
	if size := sizeOf(&e); size > 2*ingest.MaxAlert {
		r.wrong("", fmt.Sprintf("the alert has %d bytes: at most %d", size, 2*ingest.MaxAlert))
	}
	if r.bad != nil {
		m.Refuse(r.env.Index, r.bad.Field, r.bad.Detail)
		return
	}
	if e.Summary == "" {
		e.Summary = ingest.Line(key)
	}
	for _, v := range [...]string{e.Labels.Get("host"), e.Labels.Get("service"), key} {
		if e.About == "" {
			e.About = v
		}
	}
	m.Events = append(m.Events, e)
}

func (r *run) wrong(field, detail string) {
	if r.bad == nil {
		r.bad = &ingest.ItemError{Item: r.env.Index, Field: field, Detail: detail}
	}
}

// value returns what an expression gives; nil where there is none.
func (r *run) value(field string, p *vm.Program) any {
	if p == nil {
		return nil
	}
	v, err := r.machine.Run(p, r.env)
	if err != nil {
		r.wrong(field, oneLine(err))
		return nil
	}
	return v
}

// text returns what an expression gives as a text of at most most bytes.
func (r *run) text(field string, p *vm.Program, most int) string {
	v := r.value(field, p)
	if v == nil {
		return ""
	}
	s, err := text(v)
	if err != nil {
		r.wrong(field, err.Error())
		return ""
	}
	if why := ingest.CheckText(s, most); why != "" {
		r.wrong(field, why)
		return ""
	}
	return s
}

func (r *run) status() tocsin.Status {
	if r.program.status == nil {
		return tocsin.Firing
	}
	var status tocsin.Status
	word := r.text("status", r.program.status, ingest.MaxName)
	err := status.UnmarshalText([]byte(strings.ToLower(word)))
	if err != nil {
		r.wrong("status", fmt.Sprintf("%q: one of firing, resolved, acknowledged", word))
	}
	return status
}

func (r *run) all(field string, programs []named, most int) tocsin.Labels {
	if len(programs) == 0 {
		return nil
	}
	ls := r.message.Room(len(programs))
	for _, p := range programs { // in the order of names
		if v := r.text(field+"."+p.name, p.program, most); v != "" {
			ls = append(ls, tocsin.Label{Name: p.name, Value: v})
		}
	}
	return r.message.Fit(ls)
}

func (r *run) time(field string, p *vm.Program) time.Time {
	switch v := r.value(field, p).(type) {
	case nil:
		return time.Time{}
	case string:
		t, ok := ingest.Time(v)
		if ok || v == "" {
			return t
		}
		r.wrong(field, fmt.Sprintf("%q is no RFC 3339 time", ingest.Cut(v, 64)))
	case int:
		t, ok := sinceEpoch(float64(v))
		if ok {
			return t
		}
		r.wrong(field, fmt.Sprintf("%d is no time in seconds or milliseconds since 1970", v))
	case float64:
		t, ok := sinceEpoch(v)
		if ok {
			return t
		}
		r.wrong(field, fmt.Sprintf("%g is no time in seconds or milliseconds since 1970", v))
	default:
		r.wrong(field, "a time is due, not "+kindOf(v))
	}
	return time.Time{}
}

// sinceEpoch reads seconds, or milliseconds where they would be beyond the year 5138 as seconds.
func sinceEpoch(n float64) (time.Time, bool) {
	const bound = 1e11
	if n >= bound {
		n /= 1000
	}
	if n < 0 || n >= bound {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(n * 1e6)).UTC(), true
}

// sizeOf returns how many bytes the texts of e have.
func sizeOf(e *tocsin.Event) int {
	n := len(e.Key) + len(e.Word) + len(e.Summary) + len(e.About) + len(e.URL)
	for _, ls := range [...]tocsin.Labels{e.Labels, e.Annotations} {
		for _, l := range ls {
			n += len(l.Name) + len(l.Value)
		}
	}
	return n
}

// oneLine returns the first line of an expression's error; the others draw a picture of the expression.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return ingest.Cut(line, 512)
}
