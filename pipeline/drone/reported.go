package drone

import "github.com/stepexec/stepexec/pipeline"

// Reported is a step that a server is told of.
type Reported struct {
	*pipeline.Step
	Service bool
}

// ReportedSteps are those of a pipeline in the order of their numbers, which count from 1:
// the clone step, services, steps. Those whose conditions do not hold are not among them.
func ReportedSteps(p *pipeline.Pipeline, f pipeline.Facts) []Reported {
	var all []Reported
	add := func(s *pipeline.Step, service bool) {
		decision, err := pipeline.Decide(s.When, f)
		if err != nil || decision.On != (pipeline.RunOn{}) {
			all = append(all, Reported{s, service})
		}
	}
	steps := p.Steps
	if len(steps) > 0 && steps[0].Name == cloneName {
		add(&steps[0], false)
		steps = steps[1:]
	}
	for i := range p.Services {
		add(&p.Services[i], true)
	}
	for i := range steps {
		add(&steps[i], false)
	}
	return all
}
