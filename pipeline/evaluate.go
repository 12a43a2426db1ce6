package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// maxExpression bounds what is compiled; real ones have a line.
const maxExpression = 4000

// variables are what an expression of evaluate sees. The names in capitals are
// Woodpecker's. A name that is not among them is an error, not nil: a slip would
// leave the step out without a word.
func (f Facts) variables() map[string]any {
	matrix, env := f.Matrix, f.Env
	if matrix == nil {
		matrix = map[string]string{}
	}
	if env == nil {
		env = map[string]string{}
	}
	return map[string]any{
		"branch": f.Branch, "tag": f.Tag, "event": f.Event, "ref": f.Ref, "repo": f.Repo,
		"instance": f.Instance, "platform": f.Platform, "cron": f.Cron, "action": f.Action, "deploy": f.Deploy, "files": f.Files,
		"matrix": matrix, "env": env,
		"CI_COMMIT_BRANCH": f.Branch, "CI_COMMIT_TAG": f.Tag, "CI_PIPELINE_EVENT": f.Event, "CI_COMMIT_REF": f.Ref,
		"CI_REPO": f.Repo, "CI_SYSTEM_HOST": f.Instance, "CI_SYSTEM_PLATFORM": f.Platform,
	}
}

func compile(text string) (*vm.Program, error) {
	return compileFor(text, expr.Env(Facts{}.variables()))
}

// Evaluate decides an expression about variables, of which those that are not there are
// nil. The error is in one line.
func Evaluate(text string, variables map[string]string) (bool, error) {
	env := map[string]any{}
	for name, value := range variables {
		env[name] = value
	}
	program, err := compileFor(text, expr.Env(env), expr.AllowUndefinedVariables())
	if err != nil {
		return false, fmt.Errorf("not a condition: %s", reason(err))
	}
	result, err := expr.Run(program, env)
	if err != nil {
		return false, fmt.Errorf("cannot be evaluated: %s", reason(err))
	}
	return result == true, nil
}

func compileFor(text string, options ...expr.Option) (*vm.Program, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression has %d characters, more than the %d allowed", len(text), maxExpression)
	}
	program, err := expr.Compile(text, append(options, expr.AsBool(), expr.Timezone("UTC"))...)
	if err != nil {
		return nil, err
	}
	root := program.Node()
	// A loop goes round a million times at most, which takes a moment; one in another
	// would hold stepexec for hours, before there is any timeout.
	if ast.Find(root, hasNestedLoop) != nil {
		return nil, errors.New("a predicate inside another one is not allowed")
	}
	return program, nil
}

// hasNestedLoop reports whether a node is a predicate, as of any or filter, with another one inside.
func hasNestedLoop(n ast.Node) bool {
	outer, ok := n.(*ast.PredicateNode)
	return ok && ast.Find(outer.Node, func(n ast.Node) bool {
		_, ok := n.(*ast.PredicateNode)
		return ok
	}) != nil
}

// evaluate reads an expression, which must compile.
func (p *parser) evaluate(v value) string {
	text := p.word(v)
	if len(text) > maxExpression {
		p.wrong(v, fmt.Sprintf("the expression has %d characters, more than the %d allowed", len(text), maxExpression), "")
		return ""
	}
	if text == "" {
		return ""
	}
	if _, err := compile(text); err != nil {
		p.wrong(v, "not a condition: "+reason(err), "see docs/pipeline.md for the names it may use")
		return ""
	}
	return text
}

// holds evaluates an expression.
func (f Facts) holds(expression string) (bool, error) {
	program, err := compile(expression)
	if err != nil {
		return false, fmt.Errorf("not a condition: %s", reason(err))
	}
	result, err := expr.Run(program, f.variables())
	if err != nil {
		return false, fmt.Errorf("cannot be evaluated: %s", reason(err))
	}
	ok, isBool := result.(bool)
	if !isBool {
		return false, fmt.Errorf("is a %T, neither true nor false", result)
	}
	return ok, nil
}

// reason is an error of the library in one line: without the picture of the place.
func reason(err error) string {
	if e, ok := err.(*file.Error); ok {
		return fmt.Sprintf("%s (column %d)", e.Message, e.Column+1)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
