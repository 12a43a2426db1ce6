package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	// maxExpressionsCost bounds all expressions of one plan or one file together.
	maxExpressionsCost = 16 * maxExpressionCost
	// maxMatchingCost bounds the comparisons of all patterns of one plan with the branch, the
	// changed files and so on: bytes of the value times bytes of the pattern, at worst.
	maxMatchingCost = 4 << 30
)

var errMatchingCost = errors.New("the patterns need too many comparisons with this build's values (use fewer or shorter patterns)")

// Effort is what deciding conditions has cost so far. Share one among the conditions of a
// file, so that many costly ones cannot hold a machine for hours. The zero value is ready.
type Effort struct {
	expressions int   // as counted by meter
	matching    int64 // bytes of values times bytes of patterns
}

// Evaluate decides an expression about variables. A variable that is not there is nil. The
// error is one line.
func (e *Effort) Evaluate(text string, variables map[string]string) (bool, error) {
	env := map[string]any{}
	for name, value := range variables {
		env[name] = value
	}
	compiled, err := compileLenient(text, env)
	if err != nil {
		return false, fmt.Errorf("not a condition: %s", reason(err))
	}
	return e.run(compiled, env)
}

// run evaluates an expression with what is left of both budgets.
func (e *Effort) run(x *expression, env map[string]any) (bool, error) {
	budget := min(maxExpressionCost, maxExpressionsCost-e.expressions)
	if budget <= 0 {
		return false, fmt.Errorf("cannot be evaluated: the expressions before it have used up all %d steps and bytes allowed", maxExpressionsCost)
	}
	x.meter.left = budget
	result, err := x.meter.run(x.program, env)
	e.expressions += budget - x.meter.left
	if err != nil {
		return false, fmt.Errorf("cannot be evaluated: %s", reason(err))
	}
	return result == true, nil
}

// firstMatch returns the first of the patterns that matches. Parse has checked the patterns;
// an invalid one matches nothing.
func (e *Effort) firstMatch(patterns []string, value string) (pattern string, hit bool, err error) {
	for _, pattern := range patterns {
		e.matching += matchCost(pattern, value)
		if e.matching > maxMatchingCost {
			return "", false, errMatchingCost
		}
		if ok, err := doublestar.Match(pattern, value); ok && err == nil {
			return pattern, true, nil
		}
	}
	return "", false, nil
}

// matchCost returns an upper limit on the comparisons of bytes.
func matchCost(pattern, value string) int64 {
	cost := int64(len(pattern) + len(value))
	if strings.Contains(pattern, "*") { // each star goes back and tries again
		cost = int64(1+len(pattern)) * int64(1+len(value))
	}
	return cost * int64(min(alternatives(pattern), maxAlternatives))
}

// alternatives returns how many patterns without braces a pattern stands for:
// {a,b}/{c,d,e} stands for six. The matcher tries each of them.
func alternatives(pattern string) int {
	total, _ := expansions(pattern, 0, false)
	return total
}

// expansions reads from i up to the end, or up to the brace that closes the group i is in.
// It returns how many expansions that part has, and where it ends.
func expansions(pattern string, i int, inGroup bool) (total, end int) {
	product := 1
	for ; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '[': // braces and commas in a class stand for themselves
			if closing := strings.IndexByte(pattern[i:], ']'); closing > 0 {
				i += closing
			}
		case c == '{':
			var inside int
			inside, i = expansions(pattern, i+1, true)
			product = min(product*inside, maxAlternatives+1)
		case c == ',' && inGroup:
			total, product = total+product, 1
		case c == '}' && inGroup:
			return min(total+product, maxAlternatives+1), i
		}
	}
	return min(total+product, maxAlternatives+1), i
}
