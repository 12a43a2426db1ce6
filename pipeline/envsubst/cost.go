package envsubst

import (
	"fmt"
	"strings"

	"github.com/drone/envsubst/parse"
)

const (
	maxText     = 8 << 20       // bytes that a file may have once its variables are replaced, at most
	maxSteps    = 1_000_000_000 // comparisons of bytes by ${NAME#pattern} and ${NAME%pattern}
	maxOnLine   = 10_000        // dollar signs on one line: the library's parser calls itself for each
	maxNested   = 100           // ${A:-${B:-…}}
	growthUpper = 3             // bytes that one byte can become in upper or lower case
)

// cost is an upper limit on what substitution makes: a short line such as ${A//x/${A}} with a
// long value can otherwise take all memory.
type cost struct{ bytes, steps int }

// afford charges for a line before it is evaluated.
func (s *substitution) afford(line string) error {
	if n := strings.Count(line, "$"); n > maxOnLine {
		return fmt.Errorf("the line has %d dollar signs, more than the %d allowed", n, maxOnLine)
	}
	if nested(line) > maxNested {
		return fmt.Errorf("variables are nested more than %d levels deep", maxNested)
	}
	tree, err := parse.Parse(line)
	if err != nil {
		return nil // evaluating the line reports it
	}
	s.spent.bytes += s.size(tree.Root)
	switch {
	case s.spent.bytes > maxText:
		return fmt.Errorf("the file may become larger than the %d bytes allowed", maxText)
	case s.spent.steps > maxSteps:
		return fmt.Errorf("the patterns of the file need more than the %d steps allowed", maxSteps)
	}
	return nil
}

// nested returns how deep variables of a line can lie within each other.
func nested(line string) int {
	depth, deepest := 0, 0
	for i := range len(line) {
		switch {
		case line[i] == '{' && i > 0 && line[i-1] == '$':
			depth++
			deepest = max(deepest, depth)
		case line[i] == '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// size returns the most bytes that a part of a line can become.
func (s *substitution) size(node parse.Node) int {
	switch n := node.(type) {
	case *parse.TextNode:
		return len(n.Value)
	case *parse.ListNode:
		total := 0
		for _, item := range n.Nodes {
			total = limited(total + s.size(item))
		}
		return total
	case *parse.FuncNode:
		return s.sizeOfVariable(n)
	}
	return 0
}

func (s *substitution) sizeOfVariable(n *parse.FuncNode) int {
	value := len(s.get(n.Param))
	arguments := 0
	for _, argument := range n.Args {
		arguments = limited(arguments + s.size(argument))
	}
	switch n.Name {
	case "//": // each byte of the value may become a replacement
		return limited(product(value+1, arguments+1))
	case "#", "##", "%", "%%": // a pattern is tried on each part of the value
		s.spent.steps = limited(s.spent.steps + product(product(value, value), arguments+1))
	case ",", ",,", "^", "^^":
		return product(value, growthUpper)
	}
	return limited(value + arguments + 20) // ${#NAME} is a number
}

// beyond is more than any limit; the sum of two fits an int of 32 bits.
const beyond = 1<<30 - 1

func limited(n int) int { return min(n, beyond) }

// product multiplies without overflow.
func product(a, b int) int {
	if a > 0 && b > beyond/a {
		return beyond
	}
	return a * b
}
