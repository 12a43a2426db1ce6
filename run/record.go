package run

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/settings"
)

// keepRecord begins the record of a run and has it told of the run's events. A
// record that cannot be kept is a warning: the run is worth more.
func keepRecord(m Machine, p *Planned, o engine.Options) (_ engine.Options, finish func()) {
	warn := func(err error) {
		m.say("warning: " + p.Admitted.Mask().String(err.Error()))
	}
	about := recordOf(p)
	about.Run = o.Host.ID()
	writer, err := record.Create(m.Sandbox.Root, about, m.Settings.History.OrDefault().MaxSize)
	if err != nil {
		warn(err)
		return o, func() {}
	}
	return telling(o, func(e *event.Event) { writer.Event(*e) }), func() {
		if err := writer.Close(); err != nil {
			warn(err)
		}
	}
}

// recordOf is what a record tells of a plan: no commands and no variables.
func recordOf(p *Planned) record.Record {
	plan, mask := p.Plan, p.Admitted.Mask()
	r := record.Record{Name: mask.String(plan.Name), User: UserName(ownUID()), Workspace: mask.String(plan.WorkspaceSource), File: mask.String(absolute(plan.File)), Cell: mask.String(plan.Cell), Started: time.Now()}
	if p.Build != (event.Build{}) {
		r.Build = new(p.Build.Shown(mask.String))
	}
	add := func(steps []pipeline.PlannedStep, service bool) {
		for i := range steps {
			r.Steps = append(r.Steps, record.StepRecord{
				Name: mask.String(steps[i].Name), Image: mask.String(steps[i].Image), Service: service,
				DependsOn: masked(steps[i].DependsOn, mask.String),
			})
		}
	}
	add(plan.Services, true)
	add(plan.Steps, false)
	return r
}

// TrimHistory removes the records of runs that the settings say not to keep.
func TrimHistory(root string, s settings.Settings) (removed int, err error) {
	return record.Trim(root, historyLimits(s))
}

// trimHistory removes the records that the settings say not to keep once a run has written its own.
func (m *Machine) trimHistory(run string) error {
	_, err := record.TrimAfter(m.Sandbox.Root, run, historyLimits(m.Settings))
	return err
}

func historyLimits(s settings.Settings) record.Limits {
	h := s.History.OrDefault()
	return record.Limits{Runs: h.Keep, Age: h.MaxAge, Bytes: h.MaxSize}
}

// ownUID is the user's id on the host, also where stepexec is root of a user
// namespace.
func ownUID() int {
	if uid, inside := rootless.Inside(); inside {
		return uid
	}
	return os.Getuid()
}

// UserName is the name of a user of the machine, or the ID of one that has no name.
func UserName(uid int) string {
	id := strconv.Itoa(uid)
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return id
}

// absolute is the absolute path of a pipeline file; "" for none.
func absolute(file string) string {
	if file == "" {
		return ""
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return ""
	}
	return path
}
