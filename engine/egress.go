package engine

import (
	"fmt"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/sandbox/network"
)

// refused tells in a step's log what its egress rules have refused.
func (r *run) refused(n *node) func(network.Refusal) {
	return func(refusal network.Refusal) {
		what := "name " + refusal.Name
		if refusal.Name == "" {
			what = "connection to " + refusal.To.String()
			if refusal.To.Port() == 0 {
				what = refusal.Protocol + " to " + refusal.To.Addr().String()
			}
		}
		text := fmt.Sprintf("refused: %s (%s), step %s", what, refusal.Why, n.step.Name)
		if refusal.Allow != "" {
			text += fmt.Sprintf("; allow it by egress: [%q]", refusal.Allow)
		}
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: text})
	}
}

// connections records a step's connections in its result.
func (r *run) connections(n *node, box *sandbox.Sandbox) {
	list, err := box.Connections()
	r.keepErr(err)
	for _, c := range list {
		n.result.Egress = append(n.result.Egress, event.Connection{
			Kind: string(c.Kind), Name: c.Name, Also: c.Also, Address: c.Address.String(), Port: c.Port, Protocol: c.Protocol,
			Sent: c.Sent, Received: c.Got, First: c.First, Last: c.Last, Refused: c.Refused,
		})
	}
}
