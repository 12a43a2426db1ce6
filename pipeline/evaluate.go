package pipeline

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// maxExpression is the length of an expression in bytes; real ones have a line.
const maxExpression = 4000

// variables returns what an expression of evaluate sees. The names in capitals are
// Woodpecker's. Any other name is an error, not nil: a misspelt name would silently leave
// the step out.
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

func (f Facts) compile(text string) (*expression, error) {
	return compile(text, expr.Env(f.variables()))
}

func compileLenient(text string, env map[string]any) (*expression, error) {
	return compile(text, expr.Env(env), expr.AllowUndefinedVariables())
}

// expression is a compiled expression with the meter that its operations pay.
type expression struct {
	program *vm.Program
	meter   *meter
}

func compile(text string, options ...expr.Option) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression has %d characters, more than the %d allowed", len(text), maxExpression)
	}
	options = append(options, expr.AsBool(), expr.Timezone("UTC"), expr.Optimize(false))
	if _, err := expr.Compile(text, options...); err != nil { // its types are checked before it is rewritten
		return nil, err
	}
	m := &meter{}
	program, err := expr.Compile(text, append(options, m.options()...)...)
	return &expression{program, m}, err
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
	if _, err := (Facts{}).compile(text); err != nil {
		p.wrong(v, "not a condition: "+reason(err), "see docs/pipeline.md for the names it may use")
		return ""
	}
	return text
}

// reason returns an error of the library on one line, without its drawing of the place.
func reason(err error) string {
	if e, ok := err.(*file.Error); ok {
		return fmt.Sprintf("%s (column %d)", e.Message, e.Column+1)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
