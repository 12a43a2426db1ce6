package woodpecker

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// file adds the workflows of a file: one for each cell of its matrix, which is put into
// the text before that is read.
func (l *loader) file(file, text string) error {
	cells, err := l.matrix(file, text)
	if err != nil {
		return err
	}
	for i, cell := range cells {
		p := &parser{loader: l, file: file, cell: cell, quiet: i > 0}
		if err := p.workflow(text); err != nil {
			return err
		}
		if l.steps += len(p.out.Steps) + len(p.out.Services); l.steps > pipeline.MaxRunSteps {
			return pipeline.Errors{{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("the workflows have more than the %d steps allowed", pipeline.MaxRunSteps)}}
		}
	}
	return nil
}

// parser reads a file for one cell of its matrix.
type parser struct {
	*loader
	*pipeline.Source
	file  string
	cell  pipeline.Cell
	quiet bool // what it warns of was told of another cell already

	values     map[string]string // of the build and the cell
	out        *pipeline.Pipeline
	outcome    pipeline.Workflow
	base, path string // of the workspace
	graph      bool   // some step has depends_on
	old        bool   // the file is of a Woodpecker before version 2, and is converted
}

// workflow reads the text.
func (p *parser) workflow(text string) error {
	p.values = buildValues(&p.o.Build, workflowName(p.file))
	for _, v := range p.cell {
		p.values[v.Axis] = v.Value
	}
	for name, value := range p.o.Params {
		if _, known := p.values[name]; !known {
			p.values[name] = value
		}
	}
	if p.o.Raw {
		text = envsubst.Protect(text)
	} else {
		var err error
		if text, err = envsubst.Substitute(p.file, text, p.values); err != nil {
			return err
		}
	}
	var documents []pipeline.Node
	p.Source, documents = pipeline.ReadSplicing(p.file, []byte(text))
	if err := p.Err(); err != nil {
		return err
	}
	p.out = &pipeline.Pipeline{File: p.file, Name: workflowName(p.file), NeedsUnsaid: true, NewPrivileges: true}
	p.outcome = pipeline.Workflow{Pipeline: p.out, Cell: p.cell}
	p.base, p.path = pluginBase, "src"
	if len(documents) != 1 {
		return pipeline.Errors{{File: p.file, Line: 1, Message: fmt.Sprintf("the file has %d documents", len(documents)), Hint: "a workflow is one document with steps"}}
	}
	p.top(documents[0])
	if err := p.Err(); err != nil {
		return err
	}
	if p.o.Raw {
		p.outcome.Fixed = p.fixedValues()
	}
	p.set.Workflows = append(p.set.Workflows, p.outcome)
	return nil
}

// top reads the keys of a workflow.
func (p *parser) top(root pipeline.Node) {
	if root.Kind() != "map" {
		p.WrongType(root, "a map")
		return
	}
	if n, given := root.Get("workspace"); given {
		p.object(n, fields{
			"base": func(n pipeline.Node) { p.base = path.Clean(p.Text(n)) },
			"path": func(n pipeline.Node) { p.path = path.Clean(p.Text(n)) },
		})
	}
	p.out.Workspace = path.Join(p.base, p.path)
	if n, given := root.Get("matrix"); given && p.o.Raw {
		p.convertMatrix(n)
	}
	var services, steps []*container
	_, hasSteps := root.Get("steps")
	_, hasPipeline := root.Get("pipeline")
	p.old = p.o.Raw && hasPipeline && !hasSteps
	p.object(root, fields{
		"workspace": ignore, "matrix": ignore, "variables": ignore, "$schema": ignore, "skip_clone": ignore,
		"steps":       func(n pipeline.Node) { steps = p.containers(n, "steps") },
		"services":    func(n pipeline.Node) { services = p.containers(n, "services") },
		"clone":       func(n pipeline.Node) { p.containers(n, "clone") },
		"labels":      func(n pipeline.Node) { p.outcome.Labels = p.labels(n) },
		"depends_on":  func(n pipeline.Node) { p.dependsOnWorkflows(n) },
		"concurrency": func(n pipeline.Node) { p.concurrency(n) },
		"when":        func(n pipeline.Node) { p.whenWorkflow(n) },
		"runs_on":     func(n pipeline.Node) { p.runsOn(n) },
		"pipeline": func(n pipeline.Node) {
			if !p.o.Raw {
				p.Misplaced(n, "Woodpecker has no such key since version 2", "rename pipeline: to steps:, or see what convert makes of the file")
			}
		},
		"branches": func(n pipeline.Node) {
			if p.old {
				p.outcome.When = []pipeline.Condition{{Position: n.Position(), Branch: p.match(n)}}
				p.outcome.Conditional = true
				return
			}
			p.warn(n, "Woodpecker has no such key since version 2, and ignores it", "write when: {branch: …}")
		},
		"platform": func(n pipeline.Node) {
			if p.old {
				p.outcome.Labels = map[string]string{"platform": p.Text(n)}
				return
			}
			p.warn(n, "Woodpecker has no such key since version 2, and ignores it", "write labels: {platform: …}")
		},
	})
	if p.old {
		steps = p.oldSteps(root)
	}
	if len(steps) == 0 && p.Err() == nil {
		p.Missing(root, "steps")
	}
	if p.Err() == nil {
		p.assemble(services, steps)
	}
}

func ignore(pipeline.Node) {}

func (p *parser) labels(n pipeline.Node) map[string]string {
	labels := map[string]string{}
	for _, e := range n.Entries() {
		if !strings.HasPrefix(e.Name, "woodpecker-ci.org") { // the server's own
			labels[e.Name] = p.Text(e.Node)
		}
	}
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
	}
	return labels
}

// concurrency is a matter of the server's queue.
func (p *parser) concurrency(n pipeline.Node) {
	if n.Kind() != "map" {
		p.Text(n)
		return
	}
	p.object(n, fields{"limit": func(n pipeline.Node) { p.Text(n) }, "group": func(n pipeline.Node) { p.Text(n) }})
}

// dependency is an item of depends_on.
type dependency struct {
	name     string
	optional bool
	at       pipeline.Node
}

// dependsOn reads a name, or a list of names and maps of name and optional.
func (p *parser) dependsOn(n pipeline.Node) []dependency {
	items := []pipeline.Node{n}
	if n.Kind() == "list" {
		items = n.Items()
	}
	list := []dependency{}
	for _, item := range items {
		d := dependency{at: item}
		if item.Kind() == "map" {
			p.object(item, fields{
				"name":     func(n pipeline.Node) { d.name = p.Text(n) },
				"optional": func(n pipeline.Node) { d.optional = p.flag(n) },
			})
		} else {
			d.name = p.Text(item)
		}
		list = append(list, d)
	}
	return list
}

func (p *parser) dependsOnWorkflows(n pipeline.Node) {
	if p.optional == nil {
		p.optional = map[string][]string{}
	}
	for _, d := range p.dependsOn(n) {
		p.outcome.DependsOn = append(p.outcome.DependsOn, d.name)
		if d.optional {
			p.optional[p.out.Name] = append(p.optional[p.out.Name], d.name)
		}
	}
}

func (p *parser) runsOn(n pipeline.Node) {
	p.warn(n, "Usage of `runs_on` is deprecated, use `when.status`", "")
	for _, word := range p.texts(n) {
		switch word {
		case "success":
			p.outcome.RunOn.Success = true
		case "failure":
			p.outcome.RunOn.Failure = true
		}
	}
}

// whenWorkflow decides whether the workflow takes part, and after what.
func (p *parser) whenWorkflow(n pipeline.Node) {
	conditions := p.conditions(n, false)
	p.outcome.Conditional = true
	if p.o.Raw {
		p.outcome.When = conditions
	}
	if p.o.Raw || p.Err() != nil {
		return
	}
	decision, err := p.effort.Decide(conditions, p.o.Build.Facts)
	if err != nil {
		p.Report(n, err)
	}
	if decision.On == (pipeline.RunOn{}) {
		p.outcome.LeftOut = decision.Reason
		return
	}
	given := slices.ContainsFunc(conditions, func(c pipeline.Condition) bool { return c.Status != pipeline.RunOn{} })
	if given {
		p.outcome.RunOn = decision.On
	}
}
