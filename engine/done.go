package engine

import "github.com/stepexec/stepexec/event"

// takeDone ends the steps that an earlier run has done, before any other begins. The
// variables that they passed on then go to the steps after them.
func (r *run) takeDone() {
	known := map[*node]exports{}
	for _, n := range r.nodes {
		if n.done == nil {
			continue
		}
		n.work.exports = doneExports(n, known)
		n.result.Reason, n.result.DoneIn, n.result.Outputs = n.done.Reason, n.done.DoneIn, n.done.Outputs
		r.finish(n, outcome{status: event.Skipped})
		n.life.move(ended)
	}
}

// doneExports are the variables that a step got and passed on.
func doneExports(n *node, known map[*node]exports) exports {
	if all, ok := known[n]; ok {
		return all
	}
	all := exports{}
	for _, before := range n.deps {
		all.add(doneExports(before, known))
	}
	if n.done != nil {
		for name, value := range n.done.Outputs {
			all[name] = export{value, n}
		}
	}
	known[n] = all
	return all
}

// add adds the variables of an earlier step. When both have a name, the step that is later
// in the file wins.
func (e exports) add(more exports) {
	for name, one := range more {
		if old, taken := e[name]; !taken || old.from.number < one.from.number {
			e[name] = one
		}
	}
}
