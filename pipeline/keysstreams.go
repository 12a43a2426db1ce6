package pipeline

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// streamKeys are the keys of the streams of a step, and the files that it leaves.
func streamKeys() []Key {
	return []Key{
		{
			Name: "stdin", Class: HostPath, Fields: []string{"Stdin"},
			Doc:        "File that is the standard input, or - for that of stepexec.",
			Schema:     `{"$ref": "#/$defs/line"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.Stdin = p.line(v) },
			write:      func(_ *writer, s *Step) *yaml.Node { return asText(s.Stdin) },
		},
		{
			Name: "output", Class: HostPath, Fields: []string{"Output"},
			Doc:        "none, or file:PATH.",
			Schema:     `{"type": "string", "pattern": "^(none|file:[^\\x00-\\x1f\\x7f]+)$"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.Output = p.output(v) },
			write:      func(_ *writer, s *Step) *yaml.Node { return outputNode(s.Output) },
		},
		{
			Name: "output_limit", Class: Limit, Fields: []string{"OutputLimit"},
			Doc:        "How much of what it prints the log takes: head and end are kept.",
			Schema:     `{"$ref": "#/$defs/size"}`,
			BesideSpec: true,
			read:       func(p *parser, s *Step, v value) { s.OutputLimit = p.outputLimit(v) },
			write:      func(_ *writer, s *Step) *yaml.Node { return asNumber(s.OutputLimit) },
		},
		{
			Name: "artifacts", Class: Limit, Fields: []string{"Artifacts"},
			Doc:     "Files of the workspace that are collected when the step has ended.",
			Schema:  `{"anyOf": [{"$ref": "#/$defs/artifact"}, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/artifact"}}]}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.Artifacts = p.artifacts(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return tree.List(s.Artifacts, artifactNode) },
		},
		{
			Name: "reports", Class: Free, Fields: []string{"Reports"},
			Doc:     "Test reports in the workspace that are read when the step has ended: failing and slowest tests are shown.",
			Schema:  `{"$ref": "#/$defs/reports"}`,
			OfSteps: true, BesideSpec: true,
			read:  func(p *parser, s *Step, v value) { s.Reports = p.reports(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return reportsNode(s.Reports) },
		},
		{
			Name: "workspace_owner", Class: Free, Fields: []string{"Owner"},
			Doc:    "Who gets the files that the step makes as root in the workspace.",
			Schema: `{"type": "string", "pattern": "^(me|[0-9]{1,10}:[0-9]{1,10})$"}`,
			Flags: []KeyFlag{
				{Name: "workspace-owner", Kind: TextFlag, Usage: "change the owner of files that the command creates as root in --workspace to `UID:GID`, or to me"},
			},
			read:  func(p *parser, s *Step, v value) { s.Owner = p.owner(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return ownerNode(s.Owner) },
		},
		{
			Name: "spec", Class: Privilege, Fields: []string{"Advanced.Spec"},
			Doc:        "File with an OCI runtime specification that is used as it is.",
			Schema:     `{"$ref": "#/$defs/line"}`,
			BesideSpec: true,
			Flags: []KeyFlag{
				{Name: "config", Short: "c", Kind: TextFlag, Usage: "use the OCI runtime specification in `FILE` as it is"},
			},
			read:  func(p *parser, s *Step, v value) { s.SpecFile, s.specFileAt = p.line(v), v.position() },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.SpecFile) },
		},
	}
}
