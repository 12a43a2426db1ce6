package drone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// connect checks what the pipelines depend on, and puts in the place of one that is left
// out what that depends on.
func (p *parser) connect() {
	all := p.set.Workflows
	byName := map[string]*pipeline.Workflow{}
	for i := range all {
		byName[all[i].Name] = &all[i]
	}
	for i := range all {
		for _, name := range all[i].DependsOn {
			if byName[name] == nil {
				p.report(&all[i], fmt.Sprintf("pipeline %q depends on %q, which is not there", all[i].Name, name))
			}
		}
		if path := circle(byName, all[i].Name, nil); path != nil {
			p.report(&all[i], "cycle: "+strings.Join(path, " → "))
			return
		}
	}
	kept := make([][]string, len(all))
	for i := range all {
		kept[i] = keptBelow(byName, all[i].DependsOn)
	}
	for i := range all {
		all[i].DependsOn = kept[i]
	}
}

func (p *parser) report(w *pipeline.Workflow, message string) {
	p.Fail(fmt.Sprintf("depends_on of pipeline %s: %s", w.Name, message), "")
}

// circle is a way from a pipeline back to itself, or nil.
func circle(byName map[string]*pipeline.Workflow, name string, way []string) []string {
	if slices.Contains(way, name) {
		if way[0] == name {
			return append(way, name)
		}
		return nil // another one's
	}
	w := byName[name]
	if w == nil {
		return nil
	}
	for _, next := range w.DependsOn {
		if found := circle(byName, next, append(slices.Clone(way), name)); found != nil {
			return found
		}
	}
	return nil
}

func keptBelow(byName map[string]*pipeline.Workflow, names []string) []string {
	var kept []string
	seen := map[string]bool{}
	for todo := slices.Clone(names); len(todo) > 0; todo = todo[1:] {
		w := byName[todo[0]]
		if w == nil || seen[w.Name] {
			continue
		}
		seen[w.Name] = true
		if w.LeftOut == "" {
			kept = append(kept, w.Name)
		} else {
			todo = append(todo, w.DependsOn...)
		}
	}
	return kept
}
