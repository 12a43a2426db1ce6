package engine

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// fromRun are the variables of a step that describe the run as it is now.
func (r *run) fromRun(n *node) []string {
	var entries []string
	for _, v := range n.step.FromRun {
		switch v.Fact {
		case pipeline.RunStatus:
			status := "success"
			if n.life.hasFailed() {
				status = "failure"
			}
			entries = append(entries, v.Name+"="+status)
		case pipeline.RunFailedSteps:
			entries = append(entries, v.Name+"="+strings.Join(r.failedSteps(), ","))
		case pipeline.RunStarted:
			entries = append(entries, v.Name+"="+strconv.FormatInt(time.Now().Unix(), 10))
		}
	}
	return entries
}

// toldOtherwise reports whether the run has failed since a step was prepared ahead. The
// step's variables would say that all went well.
func toldOtherwise(n *node) bool {
	tellsStatus := func(v pipeline.RunVariable) bool {
		return v.Fact == pipeline.RunStatus || v.Fact == pipeline.RunFailedSteps
	}
	return n.life.hasFailed() && slices.ContainsFunc(n.step.FromRun, tellsStatus)
}

// readsStart reports whether the step's script names a variable with the time of its start.
// That time would be too early in a container that is created ahead.
func readsStart(step *pipeline.PlannedStep) bool {
	return slices.ContainsFunc(step.FromRun, func(v pipeline.RunVariable) bool {
		return v.Fact == pipeline.RunStarted && bytes.Contains(step.Script, []byte(v.Name))
	})
}

// failedSteps are the names of the steps that have made the run fail by now.
func (r *run) failedSteps() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failed)
}
