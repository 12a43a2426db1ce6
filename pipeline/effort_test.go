package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// Each pattern or list of patterns is small and means years of comparing.
func TestPatternsThatWouldNotEnd(t *testing.T) {
	group := "{" + strings.Repeat("a,", 50) + "a}"
	for name, test := range map[string]struct{ pattern, want string }{
		"many groups":          {strings.Repeat(group, 8), "f:1:38: steps.a.when.branch: the braces of the pattern stand for more than the 256 patterns allowed"},
		"groups in groups":     {strings.Repeat("{a,b", 9) + strings.Repeat("}", 9) + strings.Repeat("{a,b}", 9), "stand for more than the 256"},
		"a brace in a class":   {"{[}],a,b}" + strings.Repeat("{a,[,],b}", 8), "stand for more than the 256"},
		"a brace with escapes": {`{\},a,b}` + strings.Repeat(`{a,\,,b}`, 8), "stand for more than the 256"},
		"a long one":           {strings.Repeat("*a", 600), "the pattern has 1200 characters, more than the 1000 allowed"},
	} {
		_, err := pipeline.Parse("f", []byte(fmt.Sprintf("steps: {a: {image: x, when: {branch: '%s'}}}", test.pattern)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, pattern := range []string{"{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", `\{a,b\}` + strings.Repeat(`{a,b}`, 8), "[{,]{" + strings.Repeat("a,", 255) + "b}"} {
		if _, err := pipeline.Parse("f", []byte(fmt.Sprintf("steps: {a: {image: x, when: {branch: '%s'}}}", pattern))); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func TestPatternsOverManyFilesHaveABudget(t *testing.T) {
	facts := pipeline.Facts{FilesKnown: true}
	for i := range 3000 {
		facts.Files = append(facts.Files, fmt.Sprintf("%s/%d", strings.Repeat("a/", 2000), i))
	}
	slow := []string{}
	for range 100 {
		slow = append(slow, strings.Repeat("*a", 400)+"{b,c,d,e,f,g,h}")
	}
	_, err := pipeline.Decide([]pipeline.Condition{{Path: pipeline.PathMatch{Match: pipeline.Match{Include: slow}}}}, facts)
	if err == nil || !strings.Contains(err.Error(), "the patterns need too many comparisons") {
		t.Error(err)
	}
	// A large change and a long list of ordinary patterns stay within it.
	facts.Files = nil
	for i := range 10000 {
		facts.Files = append(facts.Files, fmt.Sprintf("services/payments/internal/handlers/file%d.go", i))
	}
	var effort pipeline.Effort
	for range 20 {
		ordinary := []string{"docs/**/*.md", "web/**/*.{ts,tsx,css}", "scripts/*.sh", "Makefile", "tools/**"}
		d, err := effort.Decide([]pipeline.Condition{{Path: pipeline.PathMatch{Match: pipeline.Match{Include: ordinary}}}}, facts)
		if err != nil || d.On != (pipeline.RunOn{}) {
			t.Fatal(d, err)
		}
	}
}

func TestExpressionsOfAPlanShareABudget(t *testing.T) {
	var file strings.Builder
	file.WriteString("steps:\n")
	for i := range 100 {
		fmt.Fprintf(&file, "  s%d: {image: x, when: {evaluate: 'all(1..90000, true) && len(repeat(\"a\", 3900000)) > %d'}}\n", i, i)
	}
	_, err := parse(t, file.String()).Plan(pipeline.Inputs{})
	if err == nil || !strings.Contains(err.Error(), "pipeline.yml:19:19: steps.s17.when.evaluate: cannot be evaluated: the expressions before it have used up") {
		t.Error(err)
	}
}

func TestMatricesThatMeanTooMuch(t *testing.T) {
	values := strings.TrimSuffix(strings.Repeat("x,", 300), ",")
	axes := ""
	for i := range 101 {
		axes += fmt.Sprintf("A%d: [1], ", i)
	}
	for name, test := range map[string]struct{ matrix, want string }{
		"one axis":   {"{A: [" + values + "]}", "has 300 values, more than the 256 cells allowed"},
		"many axes":  {"{" + axes + "}", "has 101 keys, more than the 100 allowed"},
		"two axes":   {"{A: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17], B: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", "more than the 256 cells allowed"},
		"an include": {"{include: [" + strings.Repeat("{A: 1},", 300) + "]}", "more than the 256 cells allowed"},
	} {
		_, err := pipeline.Parse("f", []byte("steps: {a: {image: x}}\nmatrix: "+test.matrix))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "f:2:") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

func TestStepsOfAllCellsAreLimited(t *testing.T) {
	var steps strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&steps, "s%d: {image: x}, ", i)
	}
	_, err := pipeline.Parse("f", []byte("matrix: {A: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16], B: [1,2]}\nsteps: {"+steps.String()+"}"))
	if want := "f:1:9: matrix: all cells together have 32000 steps, more than the 20000 allowed"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestLongRegularExpressionsAreRefused(t *testing.T) {
	file := "services: {db: {image: x, ready: {log: '" + strings.Repeat("a{1000}", 600) + "'}}}\nsteps: {a: {image: x}}"
	_, err := pipeline.Parse("f", []byte(file))
	if err == nil || !strings.Contains(err.Error(), "f:1:40: services.db.ready.log: the regular expression has 4200 characters, more than the 4000 allowed") {
		t.Errorf("%.300v", err)
	}
}
