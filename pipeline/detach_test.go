package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

func TestDetachIsTrueFalseOrAService(t *testing.T) {
	for value, want := range map[string]struct{ detach, serves bool }{
		"true": {detach: true}, "false": {}, "service": {detach: true, serves: true},
	} {
		p, err := pipeline.Parse("f", []byte("steps: [{name: a, image: x, args: [a], detach: "+value+", depends_on: []}, {name: b, image: x, args: [b]}]"))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if s := p.Steps[0]; s.Detach != want.detach || s.Serves != want.serves {
			t.Errorf("%s: detach %t, serves %t", value, s.Detach, s.Serves)
		}
		text, err := pipeline.Write(p)
		if err != nil {
			t.Fatal(err)
		}
		if written := strings.Contains(string(text), "detach: "+value); written != want.detach {
			t.Errorf("%s is written as\n%s", value, text)
		}
	}
	for _, value := range []string{"serve", "[true]", "1", "{}"} {
		if _, err := pipeline.Parse("f", []byte("steps: [{name: a, image: x, detach: "+value+"}]")); err == nil || !strings.Contains(err.Error(), "detach: must be") {
			t.Errorf("%s: %v", value, err)
		}
	}
}
