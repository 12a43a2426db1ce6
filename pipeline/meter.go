package pipeline

import (
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm"
)

const (
	// maxExpressionCost bounds one expression: the bytes and list items of every value that an
	// operation reads or makes, plus one for each turn of a loop. Real conditions cost a few
	// thousand; the whole budget is spent in well under a second.
	maxExpressionCost = 4 << 20
	// maxMatchesPattern is the length of a regular expression in bytes.
	maxMatchesPattern = maxExpression
	// maxItems bounds the lists that an expression builds, added up.
	maxItems = 100_000
)

// errCost ends an expression whose budget is spent.
var errCost = fmt.Errorf("the expression needs more than the %d steps and bytes allowed", maxExpressionCost)

// meter is the budget of one evaluation. It is a visitor that rewrites an expression so that
// each operation pays for its operands before it runs and for its result before anyone uses
// it. A short text can otherwise mean gigabytes (repeat, replace, + in reduce) or years
// (uniq, matches, loops in loops).
type meter struct {
	left int

	expression *regexp.Regexp // the last one that was compiled
	weight     int            // instructions of expression, in eights
}

// Names of the functions that the rewritten expression calls. A space keeps them out of
// reach of the text of an expression.
const (
	payName  = "stepexec pay"
	callName = "stepexec call"
)

// options make the compiler rewrite an expression for this meter. The optimizer stays off:
// it would build constants before anything is counted.
func (m *meter) options() []expr.Option {
	return []expr.Option{
		expr.Patch(m), expr.Function(payName, m.pay), expr.Function(callName, m.call), expr.Optimize(false),
	}
}

// run evaluates a program that was compiled with the meter's options.
func (m *meter) run(program *vm.Program, env any) (any, error) {
	machine := vm.VM{MemoryBudget: maxItems}
	return machine.Run(program, env)
}

// Visit implements [ast.Visitor]. The walk visits operands before operations.
func (m *meter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		m.binary(node, n)
	case *ast.BuiltinNode:
		m.builtin(node, n)
	case *ast.PredicateNode:
		paid(&n.Node)
	case *ast.ArrayNode, *ast.MapNode:
		paid(node)
	case *ast.SliceNode:
		paid(&n.Node)
	}
}

func (m *meter) binary(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "and", "&&", "or", "||", "??":
		return
	case "matches":
		ast.Patch(node, call("matches", n.Left, n.Right))
		return
	}
	paid(&n.Left)
	paid(&n.Right)
	if n.Operator == "+" {
		paid(node)
	}
}

// builtin replaces a function by a call that is paid for. Functions with a predicate stay
// loops of the virtual machine; their list is paid for at the start, and each turn.
func (m *meter) builtin(node *ast.Node, n *ast.BuiltinNode) {
	if builtin.Builtins[builtin.Index[n.Name]].Predicate {
		paid(&n.Arguments[0])
		return
	}
	ast.Patch(node, call(n.Name, n.Arguments...))
}

func paid(node *ast.Node) {
	switch (*node).(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return
	}
	ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: payName}, Arguments: []ast.Node{*node}})
}

func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: callName}, Arguments: append([]ast.Node{&ast.StringNode{Value: name}}, arguments...)}
}

// pay charges for a value and returns it.
func (m *meter) pay(arguments ...any) (any, error) {
	return arguments[0], m.charge(arguments[0])
}

// call runs a function of the language between charges for its arguments and its result.
func (m *meter) call(arguments ...any) (any, error) {
	name, arguments := arguments[0].(string), arguments[1:]
	for _, argument := range arguments {
		if err := m.charge(argument); err != nil {
			return nil, err
		}
	}
	if err := m.spend(m.growth(name, arguments)); err != nil {
		return nil, err
	}
	result, err := m.invoke(name, arguments)
	if err != nil {
		return nil, err
	}
	return result, m.charge(result)
}

func (m *meter) invoke(name string, arguments []any) (any, error) {
	if name == "matches" {
		return m.matches(arguments[0], arguments[1])
	}
	switch f := builtin.Builtins[builtin.Index[name]]; {
	case f.Fast != nil:
		if len(arguments) != 1 {
			return nil, fmt.Errorf("%s takes one value, not %d", name, len(arguments))
		}
		return f.Fast(arguments[0]), nil
	case f.Safe != nil:
		result, _, err := f.Safe(arguments...)
		return result, err
	default:
		return f.Func(arguments...)
	}
}

// growth returns the cost of a function beyond the sizes of its arguments: what it builds
// from several of them, or looks at again and again.
func (m *meter) growth(name string, arguments []any) int {
	switch name {
	case "repeat":
		return product(length(arguments, 0), number(arguments, 1))
	case "replace":
		return product(length(arguments, 0)+1, length(arguments, 2))
	case "join":
		return product(length(arguments, 0), length(arguments, 1))
	case "trim":
		return product(length(arguments, 0), length(arguments, 1))
	case "uniq":
		return product(length(arguments, 0), m.size(first(arguments), 0)/2)
	case "matches":
		return product(length(arguments, 0)+16, m.weigh(arguments[1]))
	}
	return 0
}

func (m *meter) spend(cost int) error {
	if m.left -= cost; m.left < 0 {
		m.left = 0
		return errCost
	}
	return nil
}

func (m *meter) charge(value any) error { return m.spend(m.size(value, 0)) }

// size returns the bytes and items of a value. It stops counting where the budget ends:
// lists that share their items can mean more than anyone can count.
func (m *meter) size(value any, depth int) int {
	const deepest = 64
	if depth > deepest {
		return maxExpressionCost + 1
	}
	switch v := value.(type) {
	case nil, bool, int, float64:
		return 1
	case string:
		return 1 + len(v)
	case []string:
		total := 1
		for _, item := range v {
			total += 1 + len(item)
		}
		return total
	case []int:
		return 1 + len(v)
	}
	return m.sizeOf(reflect.ValueOf(value), depth)
}

func (m *meter) sizeOf(v reflect.Value, depth int) int {
	total := 1
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && total <= m.left; i++ {
			total += m.size(v.Index(i).Interface(), depth+1)
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next() && total <= m.left; {
			total += m.size(entry.Key().Interface(), depth+1) + m.size(entry.Value().Interface(), depth+1)
		}
	}
	return total
}

// product multiplies without overflow; whatever is over the budget is one over it.
func product(a, b int) int {
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > maxExpressionCost/b {
		return maxExpressionCost + 1
	}
	return a * b
}

func first(arguments []any) any {
	if len(arguments) == 0 {
		return nil
	}
	return arguments[0]
}

// length returns the bytes of a string or the items of a list.
func length(arguments []any, i int) int {
	if i >= len(arguments) || arguments[i] == nil {
		return 0
	}
	switch v := reflect.ValueOf(arguments[i]); v.Kind() {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map:
		return v.Len()
	}
	return 0
}

func number(arguments []any, i int) int {
	if i >= len(arguments) {
		return 0
	}
	switch v := reflect.ValueOf(arguments[i]); {
	case v.CanInt():
		return int(min(v.Int(), maxExpressionCost))
	case v.CanUint():
		return int(min(v.Uint(), maxExpressionCost))
	case v.CanFloat():
		return int(min(v.Float(), maxExpressionCost))
	}
	return 0
}

// weigh returns the size of a regular expression as it is compiled, in eights of
// instructions: matching looks at each of them for each byte, in the worst case.
func (m *meter) weigh(pattern any) int {
	text, isText := pattern.(string)
	if !isText || len(text) > maxMatchesPattern || m.expression != nil && m.expression.String() == text {
		return m.weight
	}
	m.expression, m.weight = nil, 1
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 1 // matches reports it
	}
	if program, err := syntax.Compile(parsed.Simplify()); err == nil {
		m.weight += len(program.Inst) / 8
	}
	return m.weight
}

// matches is the operator of that name. Nil matches nothing.
func (m *meter) matches(value, pattern any) (bool, error) {
	if value == nil || pattern == nil {
		return false, nil
	}
	text, isText := value.(string)
	expression, isPattern := pattern.(string)
	if !isText || !isPattern {
		return false, fmt.Errorf("matches takes two strings, not %T and %T", value, pattern)
	}
	if len(expression) > maxMatchesPattern {
		return false, fmt.Errorf("the regular expression has %d characters, more than the %d allowed", len(expression), maxMatchesPattern)
	}
	if m.expression == nil || m.expression.String() != expression {
		compiled, err := regexp.Compile(expression)
		if err != nil {
			return false, err
		}
		m.expression = compiled
	}
	return m.expression.MatchString(text), nil
}
