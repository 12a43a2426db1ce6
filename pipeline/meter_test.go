package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// Each expression is short, valid, and means gigabytes or hours.
func TestExpressionsThatWouldNotEnd(t *testing.T) {
	doubled := "let a = 'xxxxxxxx';"
	for c := 'b'; c <= 'z'; c++ {
		doubled += " let " + string(c) + " = " + string(c-1) + " + " + string(c-1) + ";"
	}
	shared := "let a = [1,1,1,1,1,1,1,1];"
	for c := 'b'; c <= 'm'; c++ {
		p := string(c - 1)
		shared += " let " + string(c) + " = [" + strings.Repeat(p+",", 7) + p + "];"
	}
	for name, text := range map[string]string{
		"repeat of repeat":             `len(repeat(repeat("a", 1000000), 1000000)) > 0`,
		"repeat with a great number":   `repeat("abc", 9223372036854775807) == ""`,
		"repeat in a loop":             `all(1..90000, len(repeat("a", 100000)) > 0)`,
		"string doubled by names":      doubled + ` len(z) > 0`,
		"string doubled by reduce":     `len(reduce(1..90000, #acc + #acc, "a")) > 0`,
		"replace of every byte":        `let s = repeat("a", 100000); len(replace(s, "a", s)) > 0`,
		"replace of nothing":           `let s = repeat("a", 100000); len(replace(s, "", s)) > 0`,
		"join with long glue":          `let s = repeat("a", 100000); len(join(split(s, ""), s)) > 0`,
		"loop in a loop":               `all(1..90000, all(1..90000, true))`,
		"uniq":                         `len(uniq(1..90000)) > 0`,
		"in, in a loop":                `let a = map(1..90000, string(#)); all(a, # in a)`,
		"equality of shared lists":     shared + ` m == [l,l,l,l,l,l,l,l]`,
		"flatten of shared lists":      shared + ` len(flatten(m)) > 0`,
		"JSON of shared lists":         shared + ` len(toJSON(m)) > 0`,
		"text of shared lists":         shared + ` len(string(m)) > 0`,
		"regular expression in a loop": `let s = repeat("a", 50000); all(1..90000, not (s matches "(a?){900}b"))`,
		"regular expression of names":  `let s = repeat("a", 900000); let p = repeat("(a?){900}", 300) + "b"; s matches p`,
		"trim by a long set":           `let s = repeat("ä", 400000); trim(s, s) == ""`,
		"range":                        `len(1..100000000) > 0`,
		"ranges":                       `len(map(1..90000, 1..90000)) > 0`,
		"sum of ranges":                `sum(1..900000000) > 0`,
		"sort in a loop":               `let a = 1..90000; all(a, len(sort(a)) > 0)`,
		"concat in reduce":             `len(reduce(1..90000, concat(#acc, #acc), [1])) > 0`,
		"slices of a string in a loop": `let s = repeat("a", 900000); all(1..90000, len(s[1:]) > 0)`,
		"groups in a loop":             `all(1..90000, len(groupBy(1..900, # % 7)) > 0)`,
		"upper in a loop":              `let s = repeat("a", 900000); all(1..90000, len(upper(s)) > 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			if len(text) > 4000 {
				t.Fatal("the text is too long to be tried")
			}
			for _, evaluate := range map[string]func() (bool, error){
				"a file's": func() (bool, error) {
					_, err := pipeline.Decide([]pipeline.Condition{{Evaluate: text}}, pipeline.Facts{})
					return false, err
				},
				"Woodpecker's": func() (bool, error) { return new(pipeline.Effort).Evaluate(text, nil) },
			} {
				_, err := evaluate()
				if err == nil || !strings.Contains(err.Error(), "cannot be evaluated: ") {
					t.Errorf("%v", err)
				}
				if err != nil && !strings.Contains(err.Error(), "more than the 4194304 steps and bytes allowed") && !strings.Contains(err.Error(), "memory budget exceeded") {
					t.Errorf("another reason: %v", err)
				}
			}
		})
	}
}

// What the budget adds changes nothing else about the language.
func TestExpressionsKeepTheirMeaning(t *testing.T) {
	vars := map[string]string{"MSG": "Fix: the [docs]", "FILES": `["a.go","docs/x.md"]`, "N": "3"}
	for text, want := range map[string]bool{
		`MSG contains "[docs]" && not (MSG startsWith "WIP")`:              true,
		`MSG matches "(?i)^fix: "`:                                         true,
		`MISSING matches "x"`:                                              false,
		`MISSING == nil && (MISSING ?? "d") == "d"`:                        true,
		`any(fromJSON(FILES), # endsWith ".md")`:                           true,
		`fromJSON(FILES) | filter(# startsWith "docs/") | len() == 1`:      true,
		`any(fromJSON(FILES), any(split(#, "/"), # == "docs"))`:            true,
		`int(N) + 1 == 4 && int(N) in 1..3 && N in ["1", "3"]`:             true,
		`reduce(1..4, #acc + #, 0) == 10 && sum([1, 2]) == 3`:              true,
		`{"a": 1}.a == 1 && {"a": {"b": [5]}}?.a.b[0] == 5`:                true,
		`lower(MSG) | replace("fix", "x") | trim() == "x: the [docs]"`:     true,
		`join(sort(keys($env)), ",") == "FILES,MSG,N"`:                     true,
		`(N == "3" ? "yes" : "no") == "yes" && MSG[0:3] == "Fix"`:          true,
		`let a = [1, 2]; let b = map(a, # * 2); b == [2, 4] && b[1] == 4`:  true,
		`len(groupBy(1..6, # % 2)[0]) == 3 && sortBy([3, 1], #)[0] == 1`:   true,
		`date("2026-01-02").Year() == 2026 && duration("1h").Hours() == 1`: true,
		`max(1, 2) == 2 && toBase64("a") == "YQ==" && uniq([1, 1]) == [1]`: true,
		`findIndex([1, 2], # == 2) == 1 && count([true, false]) == 1`:      true,
	} {
		if got, err := new(pipeline.Effort).Evaluate(text, vars); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, text := range []string{
		`any(1..9, # > 3)`, `repeat("a", 9) == ""`, `A matches "x+"`, `let a = [1]; a + a == nil`, `reduce(1..3, #acc + #, 0) > 1`, `{"a": [1]}.a[0] == 1`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = new(pipeline.Effort).Evaluate(text, map[string]string{"A": "xx", "B": ""}) // it must neither panic nor run away
	})
}
