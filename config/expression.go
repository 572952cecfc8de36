package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// exprFunctions are the functions that an expression in the file may call. All of them come to an end soon, and none knows
// the time or anything but its arguments.
var exprFunctions = []string{
	"len", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "hasPrefix", "hasSuffix", "indexOf", "split", "join", "string", "int", "float",
	"abs", "ceil", "floor", "round", "max", "min", "first", "last", "get", "type",
	"any", "all", "none", "filter", "map", "find", "count",
}

// maxExprNodes bounds one expression.
const maxExprNodes = 500

// exprNames is what an expression sees.
type exprNames struct {
	Body  any `expr:"body"`
	Item  any `expr:"item"`
	Index int `expr:"index"`
}

// compileExpr compiles an expression of a JSON source; item and index stand for something only where the mapping has each.
func compileExpr(source string, each bool) error {
	guard := &exprGuard{each: each}
	options := []expr.Option{expr.Env(exprNames{}), expr.AsAny(), expr.DisableAllBuiltins(), expr.MaxNodes(maxExprNodes), expr.Patch(guard)}
	for _, f := range exprFunctions {
		options = append(options, expr.EnableBuiltin(f))
	}
	_, err := expr.Compile(source, options...)
	if err != nil {
		return err
	}
	return guard.err
}

// An exprGuard refuses what compiles and yet could take long, or means nothing.
type exprGuard struct {
	each bool
	err  error
}

// Visit is called with every node of an expression, the inner ones first.
func (g *exprGuard) Visit(n *ast.Node) {
	wrong := func(format string, args ...any) {
		if g.err == nil {
			g.err = &file.Error{Location: (*n).Location(), Line: 1, Column: (*n).Location().From, Message: fmt.Sprintf(format, args...)}
		}
	}
	switch x := (*n).(type) {
	case *ast.IdentifierNode:
		if !g.each && (x.Value == "item" || x.Value == "index") {
			wrong("%s stands for something only where the mapping has each", x.Value)
		}
	case *ast.PredicateNode:
		inner := &predicates{}
		ast.Walk(&x.Node, inner)
		if inner.found {
			wrong("any, all, none, filter, map, find and count cannot stand inside one another")
		}
	case *ast.BinaryNode:
		if x.Operator == ".." {
			wrong("ranges (..) are not available")
		}
	}
}

// predicates finds the functions that look at each element of a list.
type predicates struct{ found bool }

// Visit is called with every node.
func (p *predicates) Visit(n *ast.Node) {
	if _, ok := (*n).(*ast.PredicateNode); ok {
		p.found = true
	}
}

// expression returns the expression that n holds, if it compiles.
func (r *reader) expression(n *node, each bool) string {
	source, ok := r.filled(n)
	if !ok {
		return ""
	}
	err := compileExpr(source, each)
	if err == nil {
		return source
	}
	at, message := n.at, err.Error()
	if e, ok := errors.AsType[*file.Error](err); ok {
		message = e.Message
		if e.Line == 1 && n.inset >= 0 && !strings.Contains(source, "\n") {
			at.Column += n.inset + e.Column
		}
	}
	message, _, _ = strings.Cut(message, "\n")
	hint := "fields are body.name; texts stand in double quotes"
	if name, unknown := strings.CutPrefix(message, "unknown name "); unknown {
		hint = fmt.Sprintf("did you mean body.%s?", name)
		called := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + ` *\(`)
		if called.MatchString(source) && !slices.Contains(exprFunctions, name) {
			message = "there is no function " + name
			hint = meant(name, "functions", exprFunctions)
		}
	}
	r.complain(at, "expression: "+message, hint)
	return ""
}
