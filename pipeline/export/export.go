package export

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/tree"
)

// Format is a CI system, by the name of its files' format.
type Format string

// The formats.
const (
	Native     Format = "native"
	Drone      Format = "drone"
	Woodpecker Format = "woodpecker"
)

// Write returns a workflow as a file of another CI system. A workflow of such a system was read
// without substitution: its variables get the names that the other one has for them. The error
// is a [pipeline.Errors], one for each key that the format has no words for. Losses are what
// the file does otherwise and nobody may miss.
func Write(w *pipeline.Workflow, from, to Format) (text []byte, losses []string, err error) {
	e := &exporter{workflow: w, from: from, to: to, title: map[Format]string{Drone: "Drone", Woodpecker: "Woodpecker"}[to]}
	var root *yaml.Node
	switch to {
	case Drone:
		root = e.drone()
	case Woodpecker:
		root = e.woodpecker()
	default:
		return nil, nil, fmt.Errorf("format %q: must be drone or woodpecker", to)
	}
	e.variables(root, "")
	if len(e.errs) > 0 {
		return nil, nil, e.errs
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, nil, fmt.Errorf("write pipeline %s: %w", w.Name, err)
	}
	return out.Bytes(), e.losses, encoder.Close()
}

// exporter writes one workflow.
type exporter struct {
	workflow *pipeline.Workflow
	from, to Format
	title    string // of the CI system
	errs     pipeline.Errors
	losses   []string

	at      pipeline.Position // of the step that is written
	volumes tree.Map          // of Drone: those of the pipeline, by their names
}

// refuse notes that the format has no words for a key.
func (e *exporter) refuse(key, why string) {
	err := &pipeline.Error{File: e.workflow.File, Line: e.at.Line, Column: e.at.Column, Key: key, Message: "files of " + e.title + " have no words for it"}
	if e.at.Key != "" {
		err.Key = e.at.Key + "." + key
	}
	if why != "" {
		err.Message += ": " + why
	}
	e.errs = append(e.errs, err)
}

func (e *exporter) loss(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.losses, text) {
		e.losses = append(e.losses, text)
	}
}

// header refuses what neither format can say of a whole pipeline.
func (e *exporter) header() {
	p := e.workflow.Pipeline
	for key, given := range map[string]bool{
		"env_file": len(p.EnvFiles) > 0, "timeout": p.Timeout > 0, "egress": p.Egress != nil, "fail_fast": p.FailFast, "matrix.exclude": len(p.Matrix.Exclude) > 0,
	} {
		if given {
			e.refuse(key, "")
		}
	}
	if e.from == Native && slices.ContainsFunc(slices.Concat(p.Services, p.Steps), func(s pipeline.Step) bool { return s.Network == "" }) && len(p.Services) > 0 {
		e.loss("each step and service has an address of its own: a service is reached by its name, not by localhost")
	}
}

// step writes a step or a service by what to do with each of its keys. Keys that are not among
// them are refused.
func (e *exporter) step(s *pipeline.Step, kind string, known map[string]func(value *yaml.Node)) {
	e.at = place(s, kind)
	defer func() { e.at = pipeline.Position{} }()
	if len(s.EndsRun) > 0 && !(len(s.EndsRun) == 1 && s.EndsRun[0] == 78 && e.from == Drone) {
		e.refuse("ends_run", "")
	}
	for _, key := range pipeline.Written(s) {
		if key.Name == "ends_run" {
			continue
		}
		if write := known[key.Name]; write != nil {
			write(key.Value)
			continue
		}
		e.refuse(key.Name, "")
	}
}

// services returns the services of the pipeline, with those that are detached steps here because they
// have conditions or wait for others, and the remaining steps. In the files that are written, all
// services begin before the first step.
func (e *exporter) services() (services, steps []pipeline.Step) {
	names := map[string]bool{}
	for _, s := range e.workflow.Services {
		services, names[s.Name] = append(services, s), true
	}
	for _, s := range e.workflow.Steps {
		if !s.Serves {
			steps = append(steps, s)
			continue
		}
		early := s.DependsOn != nil || len(steps) == 0
		for _, name := range s.DependsOn {
			early = early && names[name]
		}
		if !early {
			e.at = place(&s, "steps")
			e.refuse("detach", "a service that begins after a step")
		}
		s.Detach, s.Serves = false, false
		services, names[s.Name] = append(services, s), true
	}
	e.at = pipeline.Position{}
	return services, steps
}

// place is where a step is in the file, or what it is if it comes from none.
func place(s *pipeline.Step, kind string) pipeline.Position {
	at := s.Position
	if at.Key == "" {
		at.Key = kind + " " + s.Name
	}
	return at
}

// environment is a map. Facts of the run that the server tells by itself, under the same name,
// are left out.
func (e *exporter) environment(variables []pipeline.Variable) *yaml.Node {
	o := tree.NewMap()
	for _, v := range variables {
		switch {
		case v.Value.FromHost:
			e.refuse("environment."+v.Name, "the value is that of the machine")
		case v.Value.FromRun != "" && serverTells(e.to, v.Name):
		case v.Value.FromRun != "":
			e.refuse("environment."+v.Name+".from_run", "")
		case v.Value.FromSecret != "":
			o.Put(v.Name, secret(v.Value.FromSecret))
		default:
			o.Put(v.Name, tree.Text(v.Value.Text))
		}
	}
	return o.Filled()
}

func secret(name string) *yaml.Node {
	from := tree.NewMap()
	from.Put("from_secret", tree.Text(name))
	from.Node.Style = yaml.FlowStyle
	return from.Node
}

// texts is a list; nil for none.
func texts(values []string) *yaml.Node {
	if len(values) == 0 {
		return nil
	}
	return tree.Texts(values)
}
