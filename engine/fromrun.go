package engine

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// fromRun are the variables of a step that tell of the run, as it is now.
func (n *node) fromRun() []string {
	var entries []string
	for _, v := range n.step.FromRun {
		switch v.Fact {
		case pipeline.RunStatus:
			status := "success"
			if n.failed {
				status = "failure"
			}
			entries = append(entries, v.Name+"="+status)
		case pipeline.RunStarted:
			entries = append(entries, v.Name+"="+strconv.FormatInt(time.Now().Unix(), 10))
		}
	}
	return entries
}

// renew removes what was prepared ahead where the run has failed since: the step would
// be told that all went well.
func (r *run) renew(n *node, ahead *prepared) *prepared {
	tellsStatus := func(v pipeline.RunVariable) bool { return v.Fact == pipeline.RunStatus }
	if !n.failed || !slices.ContainsFunc(n.step.FromRun, tellsStatus) {
		return ahead
	}
	r.keepErr(ahead.remove())
	return nil
}

// readsStart reports whether the step's script has the name of a variable with the time
// of its start, which would be too early in a container that is made ahead.
func readsStart(step *pipeline.PlannedStep) bool {
	return slices.ContainsFunc(step.FromRun, func(v pipeline.RunVariable) bool {
		return v.Fact == pipeline.RunStarted && bytes.Contains(step.Script, []byte(v.Name))
	})
}
