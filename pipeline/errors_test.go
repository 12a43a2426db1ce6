package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  pipeline.Error
		want string
	}{
		{pipeline.Error{File: "pipeline.yml", Line: 7, Column: 5, Key: "steps[1].comands", Message: "unknown key", Hint: `did you mean "commands"?`},
			`pipeline.yml:7:5: steps[1].comands: unknown key (did you mean "commands"?)`},
		{pipeline.Error{File: "f", Line: 7, Message: "m"}, "f:7: m"},
		{pipeline.Error{File: "f", Message: "m"}, "f: m"},
		{pipeline.Error{Key: "--only", Message: "m"}, "--only: m"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestEveryErrorOfTheListIsFound(t *testing.T) {
	_, err := pipeline.Parse("f", []byte("steps: []\nfoo: 1\n"))
	var list pipeline.Errors
	var one *pipeline.Error
	if !errors.As(err, &list) || len(list) != 2 || !errors.As(err, &one) || one.Line != 1 {
		t.Errorf("got %v", err)
	}
}

func TestListOfErrorsIsBounded(t *testing.T) {
	var file strings.Builder
	file.WriteString("steps:\n")
	for i := range 900 {
		fmt.Fprintf(&file, "  - {name: s%d, depends_on: [t%d], imgae: x}\n", i, i)
	}
	_, err := pipeline.Parse("f", []byte(file.String()))
	var list pipeline.Errors
	if !errors.As(err, &list) || len(list) != 100 {
		t.Errorf("got %d errors", len(list))
	}
}

func TestHugeFileIsRefused(t *testing.T) {
	_, err := pipeline.Parse("f", make([]byte, 5<<20))
	if err == nil || !strings.Contains(err.Error(), "more than the 1048576 bytes allowed") {
		t.Errorf("got %v", err)
	}
}

func TestLongValuesAreCutInMessages(t *testing.T) {
	_, err := pipeline.Parse("f", []byte("timeout: "+strings.Repeat("ü", 1<<18)+"\nsteps: {a: {image: x}}"))
	if err == nil || len(err.Error()) > 3000 || !strings.Contains(err.Error(), "f:1:10: timeout: ") {
		t.Errorf("got %d bytes", len(err.Error()))
	}
}

func TestErrorsBehindAnAliasPointAtTheAnchor(t *testing.T) {
	_, err := pipeline.Parse("f", []byte("x-a: &a\n  imgae: x\nsteps:\n  - name: s\n    image: i\n    <<: *a\n"))
	const want = `f:2:3: steps[0].imgae: unknown key (did you mean "image"?)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDidYouMeanStaysSilentWithoutALikelyWord(t *testing.T) {
	for key, want := range map[string]string{
		"comands": "commands", "Image": "image", "depend_on": "depends_on", "depends-on": "depends_on", "tiemout": "timeout", "secret": "secrets", "evnironment": "environment",
		"x": "", "when_": "when", "zzzzzz": "", "pulls": "pull", "cpu": "cpus", "": "", "e": "",
	} {
		_, err := pipeline.Parse("f", fmt.Appendf(nil, "steps:\n  - name: s\n    image: i\n    %q: 1\n", key))
		var list pipeline.Errors
		if !errors.As(err, &list) {
			t.Fatalf("%s: %v", key, err)
		}
		hint := ""
		if want != "" {
			hint = fmt.Sprintf("did you mean %q?", want)
		}
		if list[0].Hint != hint {
			t.Errorf("%q: hint %q, want %q", key, list[0].Hint, hint)
		}
	}
}
