package pipeline

import (
	"fmt"
	"slices"
)

// choice is a step that is planned, and the planned steps that it waits for.
type choice struct {
	index     int
	dependsOn []string
	decision  Decision
}

// choose applies Only, Skip and the conditions, and resolves the dependencies of what
// remains.
func (pl *planner) choose() []choice {
	steps := pl.pipeline.Steps
	pl.checkNames("--only", pl.in.Only)
	pl.checkNames("--skip", pl.in.Skip)
	pl.checkNames("--from", pl.in.From)
	pl.checkNames("--shell-before, --shell-after", pl.in.Breakpoints)
	graph := pl.dependencies()
	kept := pl.asked(graph)
	for i := range steps {
		kept[i] = kept[i] && !slices.Contains(pl.in.Skip, steps[i].Name)
	}
	if !slices.Contains(kept, true) && pl.in.Mode != ForJob && len(pl.errs) == 0 {
		pl.fail(Position{}, "no step is left to run", "check --only and --skip", nil)
	}
	decisions := pl.decide(kept)
	var chosen []choice
	for i := range steps {
		if !kept[i] {
			continue
		}
		c := choice{index: i, decision: decisions[i]}
		for _, d := range keptBelow(graph, kept, i) {
			c.dependsOn = append(c.dependsOn, steps[d].Name)
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// asked returns the steps that Only asks for, on request with all that they depend on.
func (pl *planner) asked(graph [][]int) []bool {
	steps := pl.pipeline.Steps
	asked := make([]bool, len(steps))
	var todo []int
	for i := range steps {
		if len(pl.in.Only) == 0 || slices.Contains(pl.in.Only, steps[i].Name) {
			asked[i] = true
			todo = append(todo, i)
		}
	}
	for pl.in.WithNeeds && len(todo) > 0 {
		last := len(todo) - 1
		needs := graph[todo[last]]
		todo = todo[:last]
		for _, d := range needs {
			if !asked[d] {
				asked[d] = true
				todo = append(todo, d)
			}
		}
	}
	return asked
}

// decide takes the steps out of kept of which no condition holds.
func (pl *planner) decide(kept []bool) []Decision {
	steps := pl.pipeline.Steps
	decisions := make([]Decision, len(steps))
	planned := 0
	var effort Effort
	for i := range steps {
		if !kept[i] {
			continue
		}
		var err error
		if decisions[i], err = effort.Decide(steps[i].When, pl.in.Facts); err != nil {
			pl.addError(err)
		}
		if decisions[i].On == (RunOn{}) {
			kept[i] = false
			pl.leftOut = append(pl.leftOut, LeftOut{
				Name: steps[i].Name, File: steps[i].File, Line: steps[i].Line, Image: pl.in.Cell.Image(steps[i].Image), Reason: decisions[i].Reason, Before: planned,
			})
			continue
		}
		planned++
	}
	return decisions
}

func (pl *planner) checkNames(flag string, names []string) {
	steps, services := stepNames(pl.pipeline.Steps), stepNames(pl.pipeline.Services)
	for _, name := range names {
		switch {
		case slices.Contains(steps, name):
		case slices.Contains(services, name):
			pl.fail(Position{Key: flag}, fmt.Sprintf("%q is a service", name), "only steps can be chosen; services always run", nil)
		default:
			pl.fail(Position{Key: flag}, fmt.Sprintf("there is no step %q", name), didYouMean(name, steps), nil)
		}
	}
}

// dependencies returns for every step those it depends on. Parse has checked the
// graph of a native file; pipelines from elsewhere are checked here, because a
// cycle would never start and an unknown name would be a step that did not wait.
func (pl *planner) dependencies() [][]int {
	steps, services := pl.pipeline.Steps, stepNames(pl.pipeline.Services)
	indexOf := map[string]int{}
	for i := range steps {
		indexOf[steps[i].Name] = i
	}
	serial := !slices.ContainsFunc(steps, func(s Step) bool { return s.DependsOn != nil })
	graph := make([][]int, len(steps))
	for i := range steps {
		if serial && i > 0 {
			graph[i] = []int{i - 1}
		}
		for _, name := range steps[i].DependsOn {
			to, known := indexOf[name]
			switch {
			case known:
				graph[i] = append(graph[i], to)
			case slices.Contains(services, name): // see needs
			default:
				pl.fail(steps[i].PositionOf("depends_on"), fmt.Sprintf("step %q depends on %q, which is not a step", steps[i].Name, name), "", nil)
			}
		}
	}
	for _, cycle := range cycles(graph) {
		pl.fail(steps[cycle[0]].PositionOf("depends_on"), "cycle: "+cyclePath(cycle, steps), "remove one of these dependencies", nil)
	}
	return graph
}

// keptBelow returns the steps that a step waits for: those it depends on, and in
// the place of dropped ones those that they depend on, in the order of the file.
func keptBelow(graph [][]int, kept []bool, step int) []int {
	var below []int
	seen := map[int]bool{step: true}
	todo := slices.Clone(graph[step])
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch {
		case seen[d]:
		case kept[d]:
			below = append(below, d)
		default:
			todo = append(todo, graph[d]...)
		}
		seen[d] = true
	}
	slices.Sort(below)
	return below
}

// HasConditions reports whether any step has a condition on more than how others ended,
// for which Plan needs Facts.
func (p *Pipeline) HasConditions() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return slices.ContainsFunc(s.When, Condition.needsFacts) })
}

func (c Condition) needsFacts() bool {
	return c.Evaluate != "" || c.Path.given() || slices.ContainsFunc(c.parts(Facts{}), func(p part) bool { return p.match.given() })
}
