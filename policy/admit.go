package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/signature"
)

// Way is how a step came in. Some rules differ by it: a CI server's pipeline cannot use an
// image that is a file of the runner's machine.
type Way string

// The ways in.
const (
	Run        Way = "run"        // a pipeline file on the command line, of any format
	Command    Way = "step"       // `stepexec step`
	Shell      Way = "shell"      // `stepexec shell`, and a shell in a failed step
	Drone      Way = "drone"      // a Drone server
	Woodpecker Way = "woodpecker" // a Woodpecker server
	Hook       Way = "actions"    // the container hook of GitHub Actions
)

// isServer reports whether the pipeline comes from another machine than this one.
func (w Way) isServer() bool { return w == Drone || w == Woodpecker || w == Hook }

// Origin is where steps come from.
type Origin struct {
	Way    Way
	Caches string // absolute folder of the named caches; "" is none
}

// Plan is a plan that was admitted. It is made by this package only.
type Plan struct {
	rules  *Policy
	origin Origin
	plan   *pipeline.Plan
	roots  []string
	mask   func() *logs.Mask
}

// Step is a step that was admitted. It is made by this package only.
type Step struct{ step pipeline.PlannedStep }

// Joined is a service, or a step, that more programs may run in. It is made by this package only.
type Joined struct{ service string }

// Plan plans a pipeline under the policy and admits the plan. Files that the pipeline names
// are opened beneath the folders that the policy allows, steps that name no network get one that
// it allows, and setuid programs work by default only where it allows them. The error is that of [pipeline.Pipeline.Plan], or Denials.
func (p *Policy) Plan(pl *pipeline.Pipeline, in pipeline.Inputs, o Origin) (*Plan, error) {
	if err := p.unchosen(); err != nil {
		return nil, err
	}
	if !p.all {
		in.Open = func(path string) (*os.File, error) {
			file, err := p.open(in.Workspace, path)
			if err != nil {
				return nil, fmt.Errorf("%s is not allowed by the policy: %w", path, err)
			}
			return file, nil
		}
		if in.Network == "" {
			in.Network = p.network()
		}
	}
	in.NoNewPrivileges = in.NoNewPrivileges || !p.all && !p.rules.allowNewPrivileges
	plan, err := pl.Plan(in)
	if err != nil {
		return nil, err
	}
	return p.Admit(plan, o)
}

// Admit admits a plan: each of its steps and services. The error is Denials.
func (p *Policy) Admit(plan *pipeline.Plan, o Origin) (*Plan, error) {
	if err := p.unchosen(); err != nil {
		return nil, err
	}
	roots, err := p.roots()
	if err != nil {
		return nil, err
	}
	admitted := &Plan{rules: p, origin: o, plan: copyOf(plan), roots: roots}
	admitted.mask = sync.OnceValue(func() *logs.Mask { return logs.NewMask(admitted.plan.Secrets) })
	var denials Denials
	for _, steps := range [][]pipeline.PlannedStep{admitted.plan.Services, admitted.plan.Steps} {
		for i := range steps {
			denials = append(denials, p.check(&steps[i], admitted.plan, o)...)
		}
	}
	denials = append(denials, p.checkRun(admitted.plan)...)
	if len(denials) > 0 {
		return nil, denials
	}
	return admitted, nil
}

// AdmitStep admits a step by itself, which has no workspace of its own: one that a shell is
// opened in. The error is Denials.
func (p *Policy) AdmitStep(step pipeline.PlannedStep, o Origin) (*Step, error) {
	if err := p.unchosen(); err != nil {
		return nil, err
	}
	if denials := p.check(&step, &pipeline.Plan{}, o); len(denials) > 0 {
		return nil, denials
	}
	return &Step{step}, nil
}

// Extra admits one more step of the run. The error is Denials.
func (p *Plan) Extra(step pipeline.PlannedStep) (*Step, error) {
	if denials := p.rules.check(&step, p.plan, p.origin); len(denials) > 0 {
		return nil, denials
	}
	return &Step{step}, nil
}

// PlanExtra plans a pipeline of one step under the plan's policy and admits the step. The error
// is that of [pipeline.Pipeline.Plan], or Denials.
func (p *Plan) PlanExtra(pl *pipeline.Pipeline, in pipeline.Inputs) (*Step, error) {
	planned, err := p.rules.Plan(pl, in, p.origin)
	if err != nil {
		return nil, err
	}
	if len(planned.plan.Steps) != 1 {
		return nil, fmt.Errorf("it is %d steps, not one", len(planned.plan.Steps))
	}
	return &Step{planned.plan.Steps[0]}, nil
}

// Join admits programs in the container of a service. One that is privileged because its
// image is runs as it is, and nothing else. The error is Denials.
func (p *Plan) Join(service string) (*Joined, error) {
	i := slices.IndexFunc(p.plan.Services, func(s pipeline.PlannedStep) bool { return s.Name == service })
	if i < 0 {
		return nil, fmt.Errorf("there is no service %s", service)
	}
	return p.rules.Join(p.plan.Services[i])
}

// Join admits programs in the container of a step that runs. The error is Denials.
func (p *Policy) Join(step pipeline.PlannedStep) (*Joined, error) {
	if err := p.unchosen(); err != nil {
		return nil, err
	}
	if denials := p.checkJoin(&step); len(denials) > 0 {
		return nil, denials
	}
	return &Joined{step.Name}, nil
}

// Service is the name of what may be joined.
func (j *Joined) Service() string { return j.service }

// Step is the step as it was admitted.
func (s *Step) Step() pipeline.PlannedStep { return s.step }

// Plan is the plan as it was admitted. Changes to it change nothing here.
func (p *Plan) Plan() *pipeline.Plan { return copyOf(p.plan) }

// Mask returns the mask of the plan's secrets, the same at each call. Whoever masks more
// adds it to a clone.
func (p *Plan) Mask() *logs.Mask { return p.mask() }

// Roots are the folders of the host that nothing a step uses may lead out of, links
// resolved, at the moment when it is opened. The workspace is always one beside them. It
// is nil where everything is allowed.
func (p *Plan) Roots() []string { return slices.Clone(p.roots) }

// Signatures are the rules about which images must be signed. They count beside those of the
// settings.
func (p *Policy) Signatures() signature.Rules { return p.rules.verifyImages }

// Signatures are those of the plan's policy.
func (p *Plan) Signatures() signature.Rules { return p.rules.Signatures() }

// Confined reports whether host paths outside Roots and the workspace are refused at the
// time of use.
func (p *Plan) Confined() bool { return !p.rules.all }

// KeepSteps has the root file system of every step kept after the run. It is for whoever
// starts the run: a pipeline asks by the key keep, which the policy may refuse.
func (p *Plan) KeepSteps() {
	for i := range p.plan.Steps {
		p.plan.Steps[i].Keep = true
	}
}

// copyOf is a plan whose steps, and their mounts and limits, can be changed apart from it.
// A Plan that was not made here has no plan, and so nothing that could run.
func copyOf(plan *pipeline.Plan) *pipeline.Plan {
	if plan == nil {
		return &pipeline.Plan{}
	}
	c := *plan
	c.Services, c.Steps = slices.Clone(plan.Services), slices.Clone(plan.Steps)
	for _, steps := range [][]pipeline.PlannedStep{c.Services, c.Steps} {
		for i := range steps {
			s := &steps[i]
			s.Mounts, s.Env = slices.Clone(s.Mounts), slices.Clone(s.Env)
			for j := range s.Mounts {
				s.Mounts[j].Options = slices.Clone(s.Mounts[j].Options)
			}
			s.Security.CapDrop, s.Artifacts = slices.Clone(s.Security.CapDrop), slices.Clone(s.Artifacts)
			s.Caches = slices.Clone(s.Caches)
		}
	}
	return &c
}

var errOutside = errors.New("it is below none of the paths there")

// absolute is a path that may be relative to the folder of the plan's file.
func absoluteIn(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func contains(list []string, text string) bool { return slices.Contains(list, text) }
