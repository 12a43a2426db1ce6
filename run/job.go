package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/settings"
)

// Job is one run of a request: a pipeline, in one cell of its matrix.
type Job struct {
	Pipeline  *pipeline.Pipeline
	Name      string         // of the pipeline, where there are several
	DependsOn []string       // names of other pipelines that must have ended before
	RunOn     pipeline.RunOn // after which ends of theirs it runs; the zero value is success
	Cell      string         // tells it from the request's other runs; "" for the only run
	Facts     pipeline.Facts
	Secrets   map[string]string

	request   *Request
	build     event.Build
	in        pipeline.Inputs
	file      string
	files     map[string]string // SHA-256 of the pipeline's files; nil: nobody asks for provenance
	checkout  checkout          // of the workspace, if somebody asks for provenance
	leaves    bool              // its steps leave artifacts
	runsAsked bool              // a step of Request.Only runs
	whyNot    []string          // why steps of Request.Only do not
	failFast  bool              // of the plan
	values    []string          // of all secrets, for masking
	planned   *Planned          // the only job's, which need not be planned twice; nil otherwise
}

// Planned is a job with everything resolved.
type Planned struct {
	Admitted *policy.Plan
	Plan     *pipeline.Plan              // copy of what was admitted, to look at
	Fetcher  *fetch.Fetcher              // of the images, without a store
	Done     map[string]event.StepResult // steps that do not run again, by name
	Scopes   cache.Scopes                // of keyed caches; zero: none are restored or saved
	Build    event.Build                 // what is built, for people; zero: not known

	attestation *attestation // nil: nobody asks for provenance
}

// Plan plans the job under the request's policy. A job that is planned twice reads its files
// twice. No secret is left in the text of the error.
func (j *Job) Plan(ctx context.Context) (*Planned, error) {
	if j.planned != nil {
		return j.planned, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	p, err := j.plan()
	if err != nil {
		return nil, Masked(err, j.Secrets)
	}
	return p, nil
}

func (j *Job) plan() (*Planned, error) {
	r := j.request
	rules := r.Rules
	if rules == nil {
		rules = policy.Trusted()
	}
	origin, err := r.Machine.Origin(policy.Run)
	if err != nil {
		return nil, err
	}
	admitted, err := rules.Plan(j.Pipeline, j.in, origin)
	if err != nil {
		return nil, err
	}
	if r.KeepSteps {
		admitted.KeepSteps()
	}
	plan := admitted.Plan()
	keychain, err := pull.ConfigKeychain(plan.RegistryConfigs, nil)
	if err != nil {
		return nil, fmt.Errorf("image_pull_secrets: %w", err)
	}
	fetcher := &fetch.Fetcher{
		Dir: j.in.Dir, Platform: r.Platform, Verify: admitted.Signatures(),
		AccessDir: r.Machine.AccessDir(settings.SharedCredentials),
		Options:   pull.Options{Registries: r.Machine.Settings.Registries, Keychain: keychain},
	}
	scopes := cacheScopes(j.Facts, j.in.Dir, r.Facts.eventIsKnown())
	p := &Planned{Admitted: admitted, Plan: plan, Fetcher: fetcher, Scopes: scopes, Build: j.build}
	if r.Provenance != nil {
		p.attestation = &attestation{request: r, planned: p, job: j}
	}
	return p, useLock(fetcher, plan, j.file, r.Locked)
}

// CheckOnly returns an error for steps that somebody asked for by name when conditions leave all of
// them out of all jobs: such a request would do nothing and be green. Jobs checks it for all but
// previews.
func CheckOnly(jobs []*Job) error {
	r := jobs[0].request
	if len(r.Only) == 0 {
		return nil
	}
	var why []string
	for _, j := range jobs {
		if j.runsAsked {
			return nil
		}
		why = append(why, j.whyNot...)
	}
	err := fmt.Errorf("--only %s: none of these steps would run: %s (change the condition, or give the facts that it asks for, such as --branch)", strings.Join(r.Only, ","), strings.Join(why, "; "))
	return Masked(err, jobs[0].Secrets)
}

// noteAsked notes whether steps that somebody asked for by name run, or why not. One that runs only
// on a failure does so only with others, which can fail.
func (j *Job) noteAsked(plan *pipeline.Plan) {
	isAsked := func(name string) bool { return slices.Contains(j.request.Only, name) }
	canFail := slices.ContainsFunc(plan.Steps, func(s pipeline.PlannedStep) bool { return s.RunOn.Success })
	of := ""
	if plan.Cell != "" {
		of = " (" + plan.Cell + ")"
	}
	for i := range plan.Steps {
		switch name := plan.Steps[i].Name; {
		case !isAsked(name):
		case canFail:
			j.runsAsked = true
		default:
			j.whyNot = append(j.whyNot, fmt.Sprintf("step %s%s: it runs only after others, none of which was asked for", name, of))
		}
	}
	for _, step := range plan.LeftOut {
		if isAsked(step.Name) {
			j.whyNot = append(j.whyNot, fmt.Sprintf("step %s%s: %s", step.Name, of, step.Reason))
		}
	}
}

// checkJobs plans each job once, and keeps of the plans what is needed before their turn.
func checkJobs(ctx context.Context, jobs []*Job) error {
	for _, j := range jobs {
		p, err := j.Plan(ctx)
		if err != nil {
			return err
		}
		j.leaves = leavesArtifacts(p.Plan)
		j.noteAsked(p.Plan)
		j.Cell, j.failFast, j.values = p.Plan.Cell, p.Plan.FailFast, p.Plan.Secrets
		if len(jobs) == 1 {
			j.planned = p
		}
	}
	return nil
}
