package envsubst

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// Each text is short and takes all memory, all of the stack or hours without a limit.
func TestSubstitutionsThatWouldNotEnd(t *testing.T) {
	values := map[string]string{"LONG": strings.Repeat("a", 100_000)}
	for name, test := range map[string]struct{ text, want string }{
		"replace by a long value": {"x\n ${LONG//a/${LONG}}", "f:2:2: substitute ${…}: the file may become larger than the 8388608 bytes allowed"},
		"a long value repeated":   {strings.Repeat("${LONG}\n", 100), "f:84:1: substitute ${…}: the file may become larger"},
		"defaults of defaults":    {strings.Repeat("${A:-", 200) + strings.Repeat("}", 200), "f:1:1: substitute ${…}: variables are nested more than 100 levels deep"},
		"many on a line":          {strings.Repeat("${A}", 200_000), "f:1:1: substitute ${…}: the line has 200000 dollar signs, more than the 10000 allowed"},
		"a pattern":               {"${LONG%%*a*a*a*a*b}", "f:1:1: substitute ${…}: the patterns of the file need more than the 1000000000 steps allowed"},
		"patterns":                {strings.Repeat("${LONG##b}\n", 10), "f:1:1: substitute ${…}: the patterns of the file need more"},
	} {
		_, err := Substitute("f", test.text, values)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, isPlaced := err.(pipeline.Errors); err != nil && !isPlaced {
			t.Errorf("%s: %T", name, err)
		}
	}
	if _, err := Substitute("f", "${MSG%%x*} ${MSG//fix/Fix} ${MSG^^}", map[string]string{"MSG": strings.Repeat("fix it\n", 1000)}); err != nil {
		t.Error("an ordinary message is refused:", err)
	}
}

// FuzzCost: no line becomes longer than was charged for.
func FuzzCost(f *testing.F) {
	for _, line := range []string{"${A//a/${A}} ${A^^} ${#A}", "${B:-x${A}y}", "${A/#a/b}${A%%b*}", "${A:1:2}$$"} {
		f.Add(line, "aab", "ß")
	}
	f.Fuzz(func(t *testing.T, line, a, b string) {
		s := substitution{get: func(name string) string { return map[string]string{"A": a, "B": b}[name] }}
		done, err := s.line(line)
		if err == nil && len(done) > s.spent.bytes {
			t.Errorf("%q became %d bytes, charged %d", line, len(done), s.spent.bytes)
		}
	})
}
