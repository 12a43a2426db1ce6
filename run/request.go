package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

// Request says which pipelines of a file are to run, and with what. The zero value runs the
// default pipeline file of the working directory as its user's own.
type Request struct {
	File      string   // pipeline file or folder; "": the default one of the working directory
	Pipelines []string // names of the pipelines to run, of a file with several; nil: those whose conditions hold
	Matrix    []string // AXIS=VALUE that cells of the matrix must have; nil: all cells
	AsDocker  bool     // Drone's pipelines of the types kubernetes and exec run as those of type docker
	Raw       bool     // leave variables of the build in the text of other CI systems' files as they are

	Workspace   string            // absolute folder that the steps share; "": the folder of File
	Environment []string          // NAME=value for all steps, over everything in the file
	EnvFiles    []string          // dotenv files, below Environment
	Defaults    []string          // NAME=value for all steps, below EnvFiles
	Secrets     map[string]string // values of secrets by name
	Facts       FactSource

	Only, Skip   []string            // names of steps to run, or to leave out
	WithNeeds    bool                // with Only: run the steps that these depend on, too
	Breakpoints  []string            // names of steps that must exist, because shells are to open in them
	From         []string            // names of steps to begin at: what they depend on counts as done in the last run
	Failed       bool                // run what failed in the last run, and what comes after it
	KeepSteps    bool                // keep the root file systems of all steps after the run
	Pull         pipeline.PullPolicy // "": as the file says
	Platform     string              // of the images, like linux/arm64; "": as the file says, or the machine's
	Locked       bool                // fail unless every image is in the lock file
	Timeout      time.Duration       // of a run; 0: as the file says
	Network      string              // of steps that name none: private, host or none; "": host, and private of other CI systems' files
	Egress       *egress.Rules       // what the steps may reach outside the run; nil: as the file says
	FailFast     bool                // end the other steps when one has failed; false: as the file says
	Artifacts    string              // folder for what steps leave; "": the record of the run
	CollectJUnit []string            // patterns of test reports of the steps that name none
	Preview      bool                // nothing will run: secrets need not be given

	PrivilegedPlugins []string // images of plugins of Drone and Woodpecker that are privileged by themselves, beside the usual ones

	Provenance *Provenance // nil: no one asks how the artifacts were made

	Rules   *policy.Policy // nil: policy.Trusted
	Machine Machine
}

// Jobs reads the request's file and checks it: there is one job for each pipeline to run, and
// each cell of its matrix. Every job is planned here once, so that a mistake anywhere in the
// file ends the request before anything runs; one plan at a time is in memory.
func (r *Request) Jobs(ctx context.Context) ([]*Job, error) {
	if r.WithNeeds && len(r.Only) == 0 {
		return nil, errors.New("--with-needs: name the steps: stepexec run STEP --with-needs, or --only STEP")
	}
	if err := r.checkRerun(); err != nil {
		return nil, err
	}
	if r.Provenance != nil && (r.Failed || len(r.From) > 0) {
		return nil, errors.New("--provenance: steps that ran in an earlier run have none (leave out --from and --failed)")
	}
	from, err := r.Load(ctx)
	if err != nil {
		return nil, err
	}
	for _, warning := range from.Set.Warnings {
		r.Machine.say("warning: " + warning.Error())
	}
	pipelines, matrix, err := r.choose(from)
	if err != nil {
		return nil, err
	}
	workflows, err := from.Choose(pipelines, r.Machine.say)
	if err != nil {
		return nil, err
	}
	var build event.Build
	if !r.Preview {
		build = r.whatIsBuilt(ctx, from)
	}
	var files map[string]string
	if r.Provenance != nil {
		if files, err = from.digests(); err != nil {
			return nil, fmt.Errorf("--provenance: %w", err)
		}
	}
	var jobs []*Job
	for i := range workflows {
		more, err := r.workflowJobs(ctx, from, &workflows[i], matrix, len(workflows) > 1)
		if err != nil {
			return nil, err
		}
		for _, j := range more {
			j.build, j.files = build, files
		}
		jobs = append(jobs, more...)
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("--matrix %s: there is no such cell", strings.Join(matrix, ", "))
	}
	if err := checkJobs(ctx, jobs); err != nil {
		return nil, err
	}
	if !r.Preview {
		if err := CheckOnly(jobs); err != nil {
			return nil, err
		}
	}
	if err := r.checkProvenance(jobs); err != nil {
		return nil, err
	}
	r.noteCheckouts(ctx, jobs)
	return jobs, Masked(r.rerun(ctx, jobs), jobs[0].Secrets)
}

// Job is Jobs for a request that must be a single run.
func (r *Request) Job(ctx context.Context) (*Job, error) {
	jobs, err := r.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	if len(jobs) > 1 {
		return nil, fmt.Errorf("it is %d runs (choose one: --pipeline NAME, or --matrix AXIS=VALUE)", len(jobs))
	}
	return jobs[0], nil
}

// workflowJobs makes the jobs of a pipeline: one for each cell of its matrix.
func (r *Request) workflowJobs(ctx context.Context, from *Source, w *pipeline.Workflow, matrix []string, several bool) ([]*Job, error) {
	cells, err := chosenCells(w, matrix)
	if err != nil {
		return nil, err
	}
	in, err := r.inputs(ctx, w, from)
	if err != nil {
		return nil, err
	}
	if several {
		in.Among = w.Name
	}
	var jobs []*Job
	for _, cell := range cells {
		in.Cell = cell
		jobs = append(jobs, &Job{
			Pipeline: w.Pipeline, Name: w.Name, DependsOn: w.DependsOn, RunOn: w.RunOn,
			Facts: in.Facts, Secrets: in.Secrets, request: r, in: in, file: from.File,
		})
	}
	return jobs, nil
}

// inputs is what the request adds to the pipeline file.
func (r *Request) inputs(ctx context.Context, w *pipeline.Workflow, from *Source) (pipeline.Inputs, error) {
	in := pipeline.Inputs{
		Defaults: r.Defaults, EnvFiles: r.EnvFiles, Environment: r.Environment, Only: r.Only, Skip: r.Skip, WithNeeds: r.WithNeeds, From: r.From, Breakpoints: r.Breakpoints,
		Pull: r.Pull, Platform: r.Platform, Timeout: r.Timeout, LookupEnv: os.LookupEnv, Base: w.Variables,
		FailFast: r.FailFast, Network: r.Network, Egress: r.Egress, CollectJUnit: r.CollectJUnit,
	}
	if r.Preview {
		in.Mode = pipeline.ForPreview
	}
	var err error
	if in.Dir, err = filepath.Abs(from.Dir); err != nil {
		return in, err
	}
	in.Workspace = in.Dir
	if r.Workspace != "" {
		in.Workspace = r.Workspace
	}
	if from.build != nil {
		in.Facts = from.build.Facts
	} else if in.Facts, err = r.Facts.facts(ctx, w.Pipeline, in.Dir, r.Platform); err != nil {
		return in, err
	}
	in.Secrets = maps.Clone(from.Set.Secrets)
	if in.Secrets == nil {
		in.Secrets = map[string]string{}
	}
	maps.Copy(in.Secrets, r.Secrets)
	return in, nil
}

// Masked is an error whose text no longer holds any of the secrets.
func Masked(err error, secrets map[string]string) error {
	mask := logs.NewMask(slices.Collect(maps.Values(secrets)))
	return mask.Error(err)
}
