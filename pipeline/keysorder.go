package pipeline

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// orderKeys are the keys of when a step runs, and what its end means.
func orderKeys() []Key {
	return []Key{
		{
			Name: "depends_on", Class: Free, Fields: []string{"DependsOn", "Needs"},
			Doc:     "Steps that must end, and services that must be ready, before this one starts.",
			Schema:  `{"anyOf": [{"$ref": "#/$defs/text"}, {"type": "array", "items": {"$ref": "#/$defs/text"}}]}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.DependsOn = p.dependsOn(v) },
			write: func(w *writer, s *Step) *yaml.Node { return w.dependsOn(s) },
		},
		{
			Name: "keep", Class: HostResource, Fields: []string{"Keep"},
			Doc:        "The root file system stays after the run, for stepexec shell.",
			Schema:     `{"type": "boolean", "default": false}`,
			BesideSpec: true,
			Flags: []KeyFlag{
				{Name: "keep", Kind: ToggleFlag, Usage: "keep the root file system after the run, for stepexec shell"},
			},
			read:  func(p *parser, s *Step, v value) { s.Keep = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Keep) },
		},
		{
			Name: "detach", Class: Free, Fields: []string{"Detach", "Serves"},
			Doc:     "Runs beside the steps after it, until the last one has ended: true, or service for one whose early end is that of a service.",
			Schema:  `{"enum": [true, false, "service"], "default": false}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.Detach, s.Serves = p.detach(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return detachNode(s) },
		},
		{
			Name: "failure", Class: Free, Fields: []string{"IgnoreFailure", "FailsFast"},
			Doc:        "What a failure of this step does to the pipeline.",
			Schema:     `{"enum": ["fail", "ignore", "cancel"], "default": "fail"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.Failure = FailurePolicy(p.oneOf(v, "fail", "ignore", "cancel")) },
			write:      func(_ *writer, s *Step) *yaml.Node { return asText(string(s.Failure)) },
		},
		{
			Name: "ends_run", Class: Free, Fields: []string{"EndsRun"},
			Doc:     "Exit codes with which the step has succeeded, and no further one begins.",
			Schema:  `{"$ref": "#/$defs/ends_run"}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.EndsRun = p.exitCodes(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumbers(s.EndsRun) },
		},
		{
			Name: "when", Class: Free, Fields: []string{"RunOn"},
			Doc:     "Conditions under which the step runs; of a list, any.",
			Schema:  `{"$ref": "#/$defs/when"}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.When = p.when(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return tree.List(s.When, conditionNode) },
		},
		{
			Name: "retry", Class: Free, Fields: []string{"Retry"},
			Doc:     "How often the step is tried, and after what.",
			Schema:  `{"$ref": "#/$defs/retry"}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.Retry = p.retry(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return retryNode(&s.Retry) },
		},
		{
			Name: "timeout", Class: Limit, Fields: []string{"Timeout"},
			Doc:        "Limit for the step.",
			Schema:     `{"$ref": "#/$defs/duration"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.Timeout = p.duration(v) },
			write:      func(_ *writer, s *Step) *yaml.Node { return asDuration(s.Timeout) },
		},
		{
			Name: "ready", Class: Joins, Fields: []string{"Ready"},
			Doc:        "When a service, or a step with detach, is ready for the steps that need it.",
			Schema:     `{"$ref": "#/$defs/ready"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.Ready = p.ready(v) },
			write:      func(_ *writer, s *Step) *yaml.Node { return readyNode(s.Ready) },
		},
	}
}

// asService is the word for a detached step that is a service with conditions or dependencies.
const asService = "service"

// detach reads true, false or the word asService.
func (p *parser) detach(v value) (detached, serves bool) {
	switch {
	case v.kind == booleanKind:
		return p.boolean(v), false
	case v.kind == textKind:
		serves = p.oneOf(v, asService) != ""
		return serves, serves
	}
	p.wrongType(v, `true, false or "`+asService+`"`)
	return false, false
}

func detachNode(s *Step) *yaml.Node {
	if s.Detach && s.Serves {
		return asText(asService)
	}
	return asFlag(s.Detach)
}
