package record

import (
	"context"

	"github.com/stepexec/stepexec/event"
)

// StepArtifact is an artifact of a step.
type StepArtifact struct {
	Step string `json:"step"`
	event.Artifact
}

// Artifacts returns the artifacts that the log of the run tells of so far.
func (r Record) Artifacts(ctx context.Context) (all []StepArtifact, err error) {
	err = r.ReadLog(ctx, nil, func(line []byte) error {
		if !IsKind(line, event.StepFinished) {
			return ctx.Err()
		}
		e, err := Decode(line)
		if err != nil || e.Result == nil {
			return err
		}
		for _, a := range e.Result.Artifacts {
			all = append(all, StepArtifact{e.Result.Step, a})
		}
		return nil
	})
	return all, err
}
