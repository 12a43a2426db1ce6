package engine

import "github.com/stepexec/stepexec/event"

// takeDone ends the steps that an earlier run has done, before any begins. What they
// handed on then goes to those after them.
func (r *run) takeDone() {
	known := map[*node]exports{}
	for _, n := range r.nodes {
		if n.done == nil {
			continue
		}
		n.exports = doneExports(n, known)
		n.result.Reason, n.result.DoneIn, n.result.Outputs = n.done.Reason, n.done.DoneIn, n.done.Outputs
		n.begin()
		r.finish(n, outcome{status: event.Skipped})
		close(n.ended)
	}
}

// doneExports are the variables that a step handed on, with those that it got.
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

// add adds what comes from a step before: of one name that of the later step in the
// file counts.
func (e exports) add(more exports) {
	for name, one := range more {
		if old, taken := e[name]; !taken || old.from.at < one.from.at {
			e[name] = one
		}
	}
}
