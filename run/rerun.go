package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/record"
)

// rerunFlag is the flag that asks for a run to go on where an earlier one stood, or "".
func (r *Request) rerunFlag() string {
	switch {
	case r.Failed:
		return "--failed"
	case len(r.From) > 0:
		return "--from"
	}
	return ""
}

// checkRerun refuses what does not go together with a rerun.
func (r *Request) checkRerun() error {
	flag := r.rerunFlag()
	switch {
	case flag == "":
		return nil
	case r.Failed && len(r.From) > 0:
		return errors.New("--failed and --from: give one of them")
	case len(r.Only)+len(r.Skip) > 0:
		return fmt.Errorf("%s: cannot be combined with --only or --skip", flag)
	case len(r.Matrix) > 0:
		return fmt.Errorf("%s: cannot be combined with --matrix: the workspace of a cell is gone after its run", flag)
	}
	return nil
}

// rerun marks the steps of the only job that count as done by an earlier run of the same
// file, with the same workspace.
func (r *Request) rerun(ctx context.Context, jobs []*Job) error {
	flag, j := r.rerunFlag(), jobs[0]
	switch {
	case flag == "":
		return nil
	case j.Cell != "" && len(j.Pipeline.Matrix.Axes)+len(j.Pipeline.Matrix.Include) > 0:
		return fmt.Errorf("%s: the pipeline has a matrix, and the workspace of a cell is gone after its run", flag)
	case j.Cell != "":
		return fmt.Errorf("%s: several pipelines that run together have a workspace each, which is gone after the run (run one by itself: --pipeline NAME)", flag)
	}
	p, err := j.Plan(ctx)
	if err != nil {
		return err
	}
	last, err := lastRun(p, r.Machine.Sandbox.Root)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	again := &rerun{plan: p.Plan, last: last, results: map[string]event.StepResult{}, runs: map[string]bool{}}
	for _, result := range last.Summary.Steps {
		if !result.Service {
			again.results[result.Step] = result
		}
	}
	if err := again.choose(r); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if p.Done, err = again.done(); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}

// lastRun returns the newest finished run of the same pipeline file in the same workspace.
func lastRun(p *Planned, root string) (record.Record, error) {
	now := recordOf(p)
	gone := ""
	var damaged error
	for r, err := range record.NewestFirst(root) {
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		if r.File != now.File || r.Name != now.Name || !r.Finished || r.Summary == nil {
			continue
		}
		if r.Cell == "" && r.Workspace == now.Workspace {
			return r, nil
		}
		gone = fmt.Sprintf(" (run %s had another workspace)", r.Run)
	}
	return record.Record{}, errors.Join(fmt.Errorf("there is no record of a finished run of %s in %s%s", now.File, now.Workspace, gone), damaged)
}

// rerun decides which steps run again.
type rerun struct {
	plan    *pipeline.Plan
	last    record.Record
	results map[string]event.StepResult // of the last run
	runs    map[string]bool             // the steps that run; the others are done
}

func (r *rerun) choose(f *Request) error {
	if f.Failed {
		return r.chooseFailed()
	}
	before := map[string]bool{}
	for _, name := range f.From {
		at := slices.IndexFunc(r.plan.Steps, func(s pipeline.PlannedStep) bool { return s.Name == name })
		if at < 0 {
			return r.leftOut(name)
		}
		r.collectBefore(&r.plan.Steps[at], before)
	}
	canFail := false
	for i := range r.plan.Steps {
		step := &r.plan.Steps[i]
		r.runs[step.Name] = !before[step.Name] || slices.Contains(f.From, step.Name)
		canFail = canFail || r.runs[step.Name] && step.RunOn.Success
	}
	if !canFail {
		return errors.New("none of the steps would run: they run only when others have failed")
	}
	return nil
}

func (r *rerun) leftOut(name string) error {
	for _, s := range r.plan.LeftOut {
		if s.Name == name {
			return fmt.Errorf("step %s does not run: %s", name, s.Reason)
		}
	}
	return fmt.Errorf("step %s does not run", name)
}

// collectBefore adds the steps that a step depends on, also by way of others.
func (r *rerun) collectBefore(step *pipeline.PlannedStep, before map[string]bool) {
	for i := range r.plan.Steps {
		s := &r.plan.Steps[i]
		if slices.Contains(step.DependsOn, s.Name) && !before[s.Name] {
			before[s.Name] = true
			r.collectBefore(s, before)
		}
	}
}

// chooseFailed chooses what failed or did not run, and what comes after that.
func (r *rerun) chooseFailed() error {
	if r.last.Summary.Status == event.Succeeded {
		return fmt.Errorf("the last run, %s, succeeded", r.last.Run)
	}
	begins := false
	for i := range r.plan.Steps {
		s := &r.plan.Steps[i]
		if !s.Detach && !isDone(s, r.results[s.Name]) {
			r.runs[s.Name], begins = true, true
		}
	}
	if !begins {
		return fmt.Errorf("no step of the last run, %s, which %s, is left to run again", r.last.Run, r.last.Summary.Status)
	}
	for more := true; more; {
		more = false
		for i := range r.plan.Steps {
			s := &r.plan.Steps[i]
			if !r.runs[s.Name] && slices.ContainsFunc(s.DependsOn, func(name string) bool { return r.runs[name] }) {
				r.runs[s.Name], more = true, true
			}
		}
	}
	return nil
}

// isDone reports whether a step need not run again, if nothing before it does: it went
// well, or it is for a failure that there was not.
func isDone(s *pipeline.PlannedStep, last event.StepResult) bool {
	onFailure := s.RunOn.Failure && !s.RunOn.Success
	return last.Status == event.Succeeded || last.Ignored || last.DoneIn != "" || last.Status == event.Skipped && onFailure
}

// done are the results of the steps that do not run.
func (r *rerun) done() (map[string]event.StepResult, error) {
	done := map[string]event.StepResult{}
	var wrong []error
	for i := range r.plan.Steps {
		s := &r.plan.Steps[i]
		if r.runs[s.Name] || s.Detach {
			continue
		}
		result, err := r.doneStep(s)
		wrong = append(wrong, err)
		done[s.Name] = result
	}
	wrong = append(wrong, r.checkVolumes(done))
	return done, errors.Join(wrong...)
}

// doneStep is what is known of a step that counts as done. What the rest of the run
// would miss is an error.
func (r *rerun) doneStep(s *pipeline.PlannedStep) (event.StepResult, error) {
	last, there := r.results[s.Name]
	result := event.StepResult{DoneIn: last.DoneIn, Reason: last.Reason, Outputs: last.Outputs}
	switch {
	case !there || !isDone(s, last) && last.Started.IsZero():
		return result, fmt.Errorf("step %s comes before, and did not run in the last run, %s (begin there: --from %s)", s.Name, r.last.Run, s.Name)
	case last.Masked > 0:
		return result, fmt.Errorf("step %s had values masked in run %s, which are not kept and would be shown now (begin there: --from %s)", s.Name, r.last.Run, s.Name)
	case last.DoneIn != "":
		return result, nil
	}
	for name, value := range last.Outputs {
		if strings.Contains(value, logs.Replacement) {
			return result, fmt.Errorf("the variable %s from step %s was masked in the record of run %s and is not known any more (begin there: --from %s)", name, s.Name, r.last.Run, s.Name)
		}
	}
	result.DoneIn = r.last.Run
	switch {
	case last.Status == event.Succeeded:
		result.Reason = "done in run " + r.last.Run
	case last.Status != event.Skipped:
		result.Reason = fmt.Sprintf("counts as done; it %s in run %s", last.Status, r.last.Run)
	}
	return result, nil
}

// checkVolumes refuses to go on without what done steps have put into volumes that
// lived as long as their run. A volume without a name is of one step alone.
func (r *rerun) checkVolumes(done map[string]event.StepResult) error {
	filled := map[string]string{}
	for i := range r.plan.Steps {
		for _, m := range r.plan.Steps[i].Mounts {
			if _, ok := done[r.plan.Steps[i].Name]; ok && m.Type == pipeline.MountVolume && m.Source != "" {
				filled[m.Source] = r.plan.Steps[i].Name
			}
		}
	}
	for _, s := range slices.Concat(r.plan.Services, r.plan.Steps) {
		if _, ok := done[s.Name]; ok {
			continue
		}
		for _, m := range s.Mounts {
			if by := filled[m.Source]; by != "" && m.Type == pipeline.MountVolume {
				return fmt.Errorf("%s uses the volume %s, which is gone with what step %s has put there (begin there: --from %s)", s.Name, m.Source, by, by)
			}
		}
	}
	return nil
}
