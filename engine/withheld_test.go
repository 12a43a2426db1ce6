package engine_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestVariablesThatThePolicyKeepsFromAStepAreTold(t *testing.T) {
	b := newBench(t)
	p, err := pipeline.Parse("pipeline.yml", []byte("steps: [{name: plugin, image: 'oci:busybox', commands: ['true']}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := p.Plan(pipeline.Inputs{Dir: b.dir, Workspace: b.dir})
	if err != nil {
		t.Fatal(err)
	}
	plan.Steps[0].Withheld = []string{"HTTP_PROXY", "no_proxy"} // as a policy does
	admitted, err := policy.Trusted().Admit(plan, policy.Origin{Way: policy.Run})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	_, err = engine.Run(t.Context(), admitted, engine.Options{Host: b.host, Fetcher: b.fetcher, Events: func(e *event.Event) {
		if e.Kind == event.Warning && e.Step == "plugin" {
			told = append(told, e.Text)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "HTTP_PROXY, no_proxy: not passed to image oci:busybox, which is privileged") {
		t.Errorf("warnings: %q", told)
	}
}
