package runner_test

import (
	"testing"

	"github.com/stepexec/stepexec/runner"
)

func TestABuildThatGoesOnIsNotBegunTwice(t *testing.T) {
	var running runner.Running[string]
	for _, step := range []struct {
		id   string
		want bool
	}{{"a", true}, {"a", false}, {"b", true}} {
		if got := running.Begin(step.id); got != step.want {
			t.Errorf("begin %s: %v", step.id, got)
		}
	}
	running.End("a")
	if !running.Begin("a") || running.Begin("b") {
		t.Error("the end of one build is not that of the other")
	}
}
