package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
)

// exprFunctions are the functions that an expression in the file may call. All of them come to an end soon, and none knows
// the time or anything but its arguments.
var exprFunctions = []string{
	"lower", "upper", "trim", "trimPrefix", "trimSuffix", "split", "join", "replace", "indexOf", "hasPrefix", "hasSuffix",
	"string", "int", "float", "len", "abs", "min", "max", "keys", "values", "get", "first", "last", "type",
	"fromJSON", "toJSON", "any", "all", "none", "map", "filter", "find",
}

// CompileExpr compiles an expression of a JSON source: body is what was posted.
func CompileExpr(source string) error {
	options := []expr.Option{expr.Env(struct {
		Body any `expr:"body"`
	}{}), expr.DisableAllBuiltins()}
	for _, f := range exprFunctions {
		options = append(options, expr.EnableBuiltin(f))
	}
	_, err := expr.Compile(source, options...)
	return err
}

// expression returns the expression that n holds, if it compiles.
func (r *reader) expression(n *node) string {
	source, ok := r.filled(n)
	if !ok {
		return ""
	}
	err := CompileExpr(source)
	if err == nil {
		return source
	}
	at, message := n.at, err.Error()
	if e, ok := errors.AsType[*file.Error](err); ok {
		message = e.Message
		if e.Line == 1 && n.inset >= 0 {
			at.Column += n.inset + e.Column
		}
	}
	message, _, _ = strings.Cut(message, "\n")
	hint := "fields are body.name; texts stand in double quotes"
	if name, unknown := strings.CutPrefix(message, "unknown name "); unknown {
		hint = fmt.Sprintf("did you mean body.%s?", name)
		if strings.Contains(source, name+"(") {
			message = "there is no function " + name
			hint = meant(name, "functions", exprFunctions)
		}
	}
	r.complain(at, "expression: "+message, hint)
	return ""
}
