package woodpecker

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// assemble puts services and steps into the pipeline.
func (p *parser) assemble(services, steps []*container) {
	p.graph = p.isGraph(steps)
	t := &translator{config: &Config{}, defaults: Defaults{Network: p.o.Network}, trust: everything(), out: &Translation{Pipeline: p.out, Steps: map[string]*Step{}}}
	if p.o.Trust != nil {
		t.trust = *p.o.Trust
	}
	var before []string
	for _, c := range services {
		name := p.add(t, c, nil)
		if len(c.when) > 0 || !pipeline.IsHostName(c.Name) {
			before = append(before, name) // it stays a detached step
			continue
		}
		last := len(p.out.Steps) - 1
		service := p.out.Steps[last]
		service.Detach, service.Serves, service.DependsOn, service.When = false, false, nil, nil
		p.out.Services, p.out.Steps = append(p.out.Services, service), p.out.Steps[:last]
	}
	for i, c := range steps {
		if !p.graph && i > 0 {
			before = []string{p.out.Steps[len(p.out.Steps)-1].Name}
		}
		p.add(t, c, before)
	}
	p.depend(steps)
	kinds, all := map[string]*container{}, Stage{}
	for _, c := range slices.Concat(services, steps) {
		kinds[c.UUID] = c
		all.Steps = append(all.Steps, &c.Step)
	}
	if p.graph && !p.o.Raw { // else no two steps run at once but those that are reached by name anyway
		t.config.Stages = []Stage{all}
		t.nameSteps()
	}
	if !p.o.Raw {
		p.outcome.Variables = p.stepVariables(kinds)
	}
}

// isGraph reports whether steps wait for what depends_on names, and not each for the one
// before. As on a server, a step that conditions leave out has no say in it.
func (p *parser) isGraph(steps []*container) bool {
	var deciding []*container
	for _, c := range steps {
		if c.dependsOn != nil && p.takesPart(c) {
			deciding = append(deciding, c)
		}
	}
	if p.o.Raw && !p.old && len(deciding) > 0 && !slices.ContainsFunc(deciding, func(c *container) bool { return len(c.when) == 0 && !c.notLocal }) {
		at := deciding[0]
		p.Wrong(at.keys["depends_on"], "whether the steps of the workflow wait for each other depends on the event: only steps with when: have depends_on",
			"give depends_on to a step without when: (depends_on: [] is enough)")
	}
	return len(deciding) > 0
}

// takesPart reports whether the conditions of a step hold. Of a file that is converted, no
// event is known.
func (p *parser) takesPart(c *container) bool {
	if p.o.Raw {
		return true
	}
	facts := p.o.Build.Facts
	facts.Matrix = map[string]string{}
	for _, v := range p.cell {
		facts.Matrix[v.Axis] = v.Value
	}
	decision, err := p.effort.Decide(p.stepConditions(c), facts)
	return err != nil || decision.On != pipeline.RunOn{} // an error is told by the plan
}

// add translates a container into a step that waits for those before it, and returns its
// name.
func (p *parser) add(t *translator, c *container, before []string) string {
	p.place(c)
	c.UUID = t.uniqueName(c.Name) // names anonymous volumes
	name := t.step(&c.Step, before)
	for _, e := range t.errs {
		p.misplaced(c, e)
	}
	t.errs = nil
	s := &p.out.Steps[len(p.out.Steps)-1]
	s.Position = c.node.Position()
	s.Environment, s.Settings = c.variables, c.settings
	s.When = p.stepConditions(c)
	if p.o.Raw {
		p.convertible(c, s)
	}
	if base := path.Join(pluginBase, p.path); c.isPlugin() && base != p.out.Workspace {
		s.Mounts = append([]pipeline.Mount{{Type: "bind", Source: ".", Destination: base, Options: []string{"rbind", "rw"}}}, s.Mounts...)
	}
	if s.Directory == p.out.Workspace {
		s.Directory = "" // where steps are anyway
	}
	return name
}

// convertible makes a step say what the build would give to it else.
func (p *parser) convertible(c *container, s *pipeline.Step) {
	if !p.graph {
		s.DependsOn = nil // each on the one before
	}
	if s.Entrypoint != nil && len(c.Commands) > 0 {
		plain := c.Step
		plain.Commands = nil
		for _, command := range c.Commands {
			plain.Commands = append(plain.Commands, envsubst.Restore(command))
		}
		s.Environment = append(s.Environment, pipeline.Variable{Name: "CI_SCRIPT", Value: pipeline.Value{Text: encodedScript(&plain)}})
	}
}

// stepConditions are those of a step; one that is not for here has one that never holds.
func (p *parser) stepConditions(c *container) []pipeline.Condition {
	if c.notLocal && !p.o.Raw {
		condition := pipeline.Condition{Position: c.keys["when"].Position()}
		never(&condition, "when.local is false: it runs on a server only")
		return []pipeline.Condition{condition}
	}
	return c.when
}

// misplaced notes an error of the translation at the key that it is about.
func (p *parser) misplaced(c *container, e *pipeline.Error) {
	key, at, longest := strings.TrimPrefix(e.Key, "steps."+c.Name+"."), c.node, ""
	for name, n := range c.keys {
		if strings.HasPrefix(key, name) && len(name) > len(longest) {
			at, longest = n, name
		}
	}
	message := e.Message
	if rest := strings.TrimPrefix(strings.TrimPrefix(key, longest), "."); rest != "" && longest != "" {
		message = rest + ": " + message
	}
	p.Misplaced(at, message, e.Hint)
}

// depend gives the steps of a graph their dependencies.
func (p *parser) depend(steps []*container) {
	if !p.graph {
		return
	}
	names := map[string]bool{}
	for _, c := range steps {
		if names[c.Name] {
			p.Misplaced(c.node, fmt.Sprintf("there is a step %q already, and depends_on could mean either", c.Name), "give it a name of its own")
		}
		names[c.Name] = true
	}
	first := len(p.out.Steps) - len(steps)
	for i, c := range steps {
		for _, d := range c.dependsOn {
			switch {
			case names[d.name] && d.name == c.Name:
				p.Wrong(d.at, "a step cannot depend on itself", "")
			case names[d.name]:
				p.out.Steps[first+i].DependsOn = append(p.out.Steps[first+i].DependsOn, d.name)
			case !d.optional:
				p.Wrong(d.at, "One or more of the specified dependencies do not exist", pipeline.DidYouMean(d.name, slices.Collect(maps.Keys(names))))
			}
		}
	}
	if p.Err() == nil {
		p.cycles()
	}
}

// cycles has the plan look for cycles, for which it says where they are.
func (p *parser) cycles() {
	probe := *p.out
	probe.Steps = slices.Clone(probe.Steps)
	for i := range probe.Steps {
		s := &probe.Steps[i]
		probe.Steps[i] = pipeline.Step{Position: s.Position, Name: s.Name, Image: "image", DependsOn: s.DependsOn}
	}
	probe.Services = nil
	if _, err := probe.Plan(pipeline.Inputs{}); err != nil {
		for _, e := range err.(pipeline.Errors) {
			p.Fail(cmp.Or(e.Message, err.Error()), e.Hint)
		}
	}
}
