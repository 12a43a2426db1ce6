package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// runOptions are the flags of `stepexec run`.
type runOptions struct {
	workspace   string
	env         []string
	envFiles    []string
	secrets     []string
	secretFiles []string
	only, skip  []string
	matrix      []string
	pipelines   pipelineFlags
	facts       factFlags
	preview     bool // of what would run
	dryRun      bool
	again       rerunFlags
	raw         bool // see formatInputs
	pull        string
	platform    string
	locked      bool
	settings    settingsFlags
	policy      policyFlag
	root        string
	runtime     string
	runtimeRoot string
	systemd     bool
	noPivot     bool
	output      outputFlags
	reports     reportFlags
	timeout     time.Duration
	grace       time.Duration
	parallel    int
	failFast    bool
	debug       debugFlags
	kill        <-chan struct{}
}

func newRun(kill <-chan struct{}) *cobra.Command {
	o := &runOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Run a pipeline",
		Long: `Run the steps of a pipeline file, each in its image. Without FILE it is
pipeline.yml, pipeline.yaml or .stepexec.yml of the working directory, or else that
of another CI system: .drone.yml, .woodpecker. All of its pipelines run in their order.`,
		Example: `  stepexec run
  stepexec run ci/pipeline.yml --only build --env CC=clang
  stepexec run --dry-run --event tag
  stepexec run --from test
  stepexec run --report report.html --report junit=out/steps.xml
  drone_password=... stepexec run deploy.yml --secret drone_password`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.dryRun {
				return o.showDryRun(cmd.Context(), cmd.OutOrStdout(), args)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	flags := cmd.Flags()
	o.addPlan(flags)
	flags.StringArrayVar(&o.only, "only", nil, "run only this `STEP` (may be repeated)")
	flags.StringArrayVar(&o.skip, "skip", nil, "leave out this `STEP` (may be repeated)")
	o.again.add(flags)
	flags.BoolVar(&o.dryRun, dryRunFlag, false, "show what would run, in which order and images, and why not the rest; nothing is pulled or started")
	o.reports.add(flags)
	o.output.add(cmd)
	o.debug.add(flags)
	flags.DurationVar(&o.grace, "grace", engine.DefaultGrace, "`time` that a step has between its stop signal and the kill, such as 30s")
	flags.IntVar(&o.parallel, "parallel", 0, "run at most `N` steps at once, the first in the file first (default: no limit)")
	flags.BoolVar(&o.failFast, "fail-fast", false, "end the other steps when one has failed (default: as the file says)")
	flags.DurationVar(&o.timeout, "timeout", 0, "`time` that the whole run may take, such as 10m (default: as the file says)")
	return cmd
}

// addPlan adds the flags that say what the steps are, and what they run on.
func (o *runOptions) addPlan(flags *pflag.FlagSet) {
	flags.StringVar(&o.workspace, "workspace", "", "`directory` shared by all steps (default: the folder of FILE)")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "environment variable `NAME[=VALUE]` for all steps; without a value, from the environment")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "dotenv `FILE` of environment variables for all steps")
	flags.StringArrayVar(&o.secrets, "secret", nil, "secret `NAME[=VALUE]`; without a value, from the environment")
	flags.StringArrayVar(&o.secretFiles, "secret-file", nil, "dotenv `FILE` of secrets")
	flags.StringArrayVar(&o.matrix, "matrix", nil, "only the cells of the matrix with `AXIS=VALUE` (may be repeated)")
	o.pipelines.add(flags)
	o.facts.add(flags)
	flags.StringVar(&o.pull, "pull", "", "when to pull images: always, missing or never (default: as the file says)")
	flags.StringVar(&o.platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	flags.BoolVar(&o.locked, "locked", false, "fail unless every image is in the lock file (see stepexec lock)")
	o.settings.add(flags)
	o.policy.add(flags)
	o.settings.addRegistries(flags)
	o.settings.addStore(flags)
	addRuntime(flags, &o.runtime)
	addRuntimeRoot(flags, &o.runtimeRoot)
	addSystemdCgroup(flags, &o.systemd)
	addNoPivot(flags, &o.noPivot)
	addRoot(flags, &o.root)
}

func (o *runOptions) run(ctx context.Context, stdout io.Writer, args []string) error {
	if o.grace <= 0 {
		return fmt.Errorf("--grace %s: must be positive, such as 30s", o.grace)
	}
	reports, err := o.reports.open()
	if err != nil {
		return err
	}
	o.output.report, o.output.shared, o.output.root = reports.path(), o.debug.shell, o.root
	shown, err := o.output.open(stdout)
	if err != nil {
		return errors.Join(err, reports.close())
	}
	display := reported{shown, reports}
	code, err := o.show(ctx, display, args)
	if err != nil {
		code = codeOf(ctx)
		for _, failure := range failures(err) {
			display.Event(failure)
		}
	}
	if err = errors.Join(err, display.End(code)); err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// show runs the pipeline, shows it and returns its exit code.
func (o *runOptions) show(ctx context.Context, display display, args []string) (int, error) {
	jobs, err := o.jobs(ctx, args)
	if err != nil {
		return 0, err
	}
	on := o.sandbox()
	on.Warn = display.Say
	caches := newCaches(o.root)
	options := engine.Options{Kill: o.kill, Grace: o.grace, Parallel: o.parallel, Cache: caches.folder}
	display.Hide(secretsOf(jobs))
	options.Flush = display.Flush
	options.Terminal = usersTerminal()
	options.Events = o.debug.lend(&options, display.Event)
	var code int
	if job := jobs[0]; job.plan.Cell == "" {
		options.Done = job.done
		code, err = executePlan(ctx, job.admitted, job.fetcher, job.settings, on, options)
	} else {
		code, err = (&severalRuns{on: on, options: options}).run(ctx, jobs)
	}
	if err = errors.Join(err, caches.close()); err != nil {
		return code, logs.NewMask(secretsOf(jobs)).Error(err)
	}
	return code, nil
}

// job is a plan with what it takes to run it.
type job struct {
	workflow  string         // its pipeline, where there are several
	dependsOn []string       // other pipelines that must have ended
	runOn     pipeline.RunOn // how; zero is on success

	pipeline *pipeline.Pipeline
	plan     *pipeline.Plan
	done     map[string]event.StepResult // steps that do not run again
	admitted *policy.Plan                // what plan is a copy of
	fetcher  *engine.Fetcher
	settings settings.Settings
	facts    pipeline.Facts
	secrets  map[string]string
}

// secretsOf are the secrets of all runs, each once.
func secretsOf(jobs []job) []string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.plan.Secrets...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// job plans a pipeline that is a single run.
func (o *runOptions) job(ctx context.Context, args []string) (job, error) {
	jobs, err := o.jobs(ctx, args)
	if err != nil {
		return job{}, err
	}
	if len(jobs) > 1 {
		return job{}, fmt.Errorf("it is %d runs (choose one: --pipeline NAME, or --matrix AXIS=VALUE)", len(jobs))
	}
	return jobs[0], nil
}

// jobs reads the pipeline file that the arguments name and plans it: once for each of
// its pipelines that are to run, and each cell of their matrix.
func (o *runOptions) jobs(ctx context.Context, args []string) ([]job, error) {
	if err := o.checkRerun(); err != nil {
		return nil, err
	}
	from, err := o.load(ctx, args)
	if err != nil {
		return nil, err
	}
	for _, warning := range from.set.Warnings {
		sayOnStderr("warning: " + warning.Error())
	}
	workflows, err := from.chosen(o.pipelines.names)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for i := range workflows {
		more, err := o.workflowJobs(ctx, &from, &workflows[i], len(workflows) > 1)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, more...)
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("--matrix %s: there is no such cell", strings.Join(o.matrix, ", "))
	}
	return jobs, masked(o.again.apply(jobs, o.root), jobs[0].secrets)
}

// workflowJobs plans a pipeline in each cell of its matrix.
func (o *runOptions) workflowJobs(ctx context.Context, from *source, w *pipeline.Workflow, several bool) ([]job, error) {
	cells, err := chosenCells(w, o.matrix)
	if err != nil {
		return nil, err
	}
	in, err := o.inputs(ctx, w, from)
	if err != nil {
		return nil, err
	}
	if several {
		in.Among = w.Name
	}
	var jobs []job
	for _, cell := range cells {
		in.Cell = cell
		j, err := o.plan(w.Pipeline, in, from.file)
		if err != nil {
			return nil, err
		}
		j.pipeline, j.workflow, j.dependsOn, j.runOn = w.Pipeline, w.Name, w.DependsOn, w.RunOn
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// plan plans the pipeline under the policy.
func (o *runOptions) plan(p *pipeline.Pipeline, in pipeline.Inputs, file string) (j job, err error) {
	rules, err := o.policy.load()
	if err != nil {
		return j, err
	}
	j.secrets, j.facts = in.Secrets, in.Facts
	origin, err := originOf(policy.Run, o.root)
	if err != nil {
		return j, err
	}
	if j.admitted, err = rules.Plan(p, in, origin); err != nil {
		return j, masked(err, in.Secrets)
	}
	if err := o.debug.apply(j.admitted); err != nil {
		return j, err
	}
	j.plan = j.admitted.Plan()
	if j.settings, err = o.settings.load(); err != nil {
		return j, err
	}
	keychain, err := pull.ConfigKeychain(j.plan.RegistryConfigs, nil)
	if err != nil {
		return j, masked(fmt.Errorf("image_pull_secrets: %w", err), in.Secrets)
	}
	j.fetcher = &engine.Fetcher{Dir: in.Dir, Platform: o.platform, Options: pull.Options{Registries: j.settings.Registries, Keychain: keychain}}
	return j, useLock(j.fetcher, j.plan, file, o.locked)
}

func (o *runOptions) sandbox() sandbox.Options {
	return sandbox.Options{Root: o.root, Runtime: o.runtime, RuntimeRoot: o.runtimeRoot, SystemdCgroup: o.systemd, NoPivot: o.noPivot}
}

// inputs is what the flags add to the pipeline file.
func (o *runOptions) inputs(ctx context.Context, w *pipeline.Workflow, from *source) (pipeline.Inputs, error) {
	in := pipeline.Inputs{
		EnvFiles: o.envFiles, Only: o.only, Skip: o.skip, From: o.again.from,
		Pull: pipeline.PullPolicy(o.pull), Platform: o.platform, Timeout: o.timeout, LookupEnv: os.LookupEnv, Base: w.Variables, Preview: o.preview, FailFast: o.failFast,
	}
	switch in.Pull {
	case "", pipeline.PullAlways, pipeline.PullMissing, pipeline.PullNever:
	default:
		return in, fmt.Errorf("--pull %s: must be always, missing or never", o.pull)
	}
	if o.timeout < 0 {
		return in, fmt.Errorf("--timeout %s: must be positive", o.timeout)
	}
	if o.parallel < 0 {
		return in, fmt.Errorf("--parallel %d: must not be negative", o.parallel)
	}
	var err error
	if in.Dir, err = filepath.Abs(from.dir); err != nil {
		return in, err
	}
	in.Workspace = in.Dir
	if o.workspace != "" {
		if in.Workspace, err = workspaceDir(o.workspace); err != nil {
			return in, err
		}
	}
	if in.Environment, err = variables("--env", o.env); err != nil {
		return in, err
	}
	if from.build != nil {
		in.Facts = from.build.Facts
	} else if in.Facts, err = o.facts.facts(ctx, w.Pipeline, in.Dir, o.platform); err != nil {
		return in, err
	}
	given, err := o.secretValues()
	in.Secrets = maps.Clone(from.set.Secrets)
	if in.Secrets == nil {
		in.Secrets = map[string]string{}
	}
	maps.Copy(in.Secrets, given)
	return in, err
}

// workspaceDir is the folder that --workspace names.
func workspaceDir(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("--workspace: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("--workspace %s: not a directory", name)
	}
	return dir, nil
}

// masked is an error in whose text no secret is left.
func masked(err error, secrets map[string]string) error {
	mask := logs.NewMask(slices.Collect(maps.Values(secrets)))
	return mask.Error(err)
}
