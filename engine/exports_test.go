package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/engine"
)

func TestVariablesThatAStepHandsOn(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
		err  string
	}{
		{"", nil, ""},
		{"A=1", []string{"A=1"}, ""},
		{"A=1\n\n  \nB=x = y\nA=2\n", []string{"A=1", "B=x = y", "A=2"}, ""},
		{"A=\nB= spaced \n", []string{"A=", "B= spaced "}, ""},
		{"A<<EOF\none\n\nB=two\nEOF\nC=3\n", []string{"A=one\n\nB=two", "C=3"}, ""},
		{"A<<EOF\nEOF", []string{"A="}, ""},
		{"A=x<<EOF", []string{"A=x<<EOF"}, ""},
		{"A=1\nno variable", nil, "line 2: not a variable"},
		{"1A=1", nil, "line 1: not a variable"},
		{" A=1", nil, "line 1: not a variable"},
		{"A-B=1", nil, "line 1: not a variable"},
		{"# comment", nil, "line 1: not a variable"},
		{"A<<EOF\none\nEOF \n", nil, "line 1: the value of A has no end"},
		{"A<<\n\n", nil, "line 1: the value of A has no end"},
		{"A=1\nPATH=/evil", nil, "line 2: a step cannot pass on the variable PATH"},
		{"LD_PRELOAD=x", nil, "line 1: a step cannot pass on the variable LD_PRELOAD"},
		{"STEPEXEC_STEP<<x\nx", nil, "line 1: a step cannot pass on the variable STEPEXEC_STEP"},
		{"PLUGIN_REPO=x", nil, "line 1: a step cannot pass on the variable PLUGIN_REPO"},
		{"A=\x00", nil, "NUL byte"},
		{"A=" + strings.Repeat("x", 64<<10), nil, "more than the 65536 bytes"},
	} {
		got, err := engine.ParseExports([]byte(test.text))
		if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%.40q: error %v, want %q; variables %s", test.text, err, test.err, diff)
		}
	}
}

func FuzzParseExports(f *testing.F) {
	f.Add([]byte("A=1\nB<<EOF\nx\nEOF\n"))
	f.Add([]byte("PATH=/x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := engine.ParseExports(data)
		if err != nil && list != nil {
			t.Errorf("an error, and yet %q", list)
		}
		if slices.ContainsFunc(list, func(entry string) bool {
			name, _, ok := strings.Cut(entry, "=")
			return !ok || name == "" || strings.ContainsAny(name, "\n\x00 ") || name == "PATH" || strings.HasPrefix(name, "LD_")
		}) {
			t.Errorf("passed on: %q", list)
		}
	})
}
