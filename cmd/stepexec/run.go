package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
)

// runOptions are the flags of `stepexec run`.
type runOptions struct {
	asDocker          bool
	privilegedPlugins []string
	workspace         string
	env               []string
	envFiles          []string
	secrets           []string
	literalSecrets    []string
	secretFiles       []string
	only, skip        []string
	withNeeds         bool
	matrix            []string
	pipelines         []string
	facts             factFlags
	dryRun            bool
	again             rerunFlags
	pull              string
	egress            string // --egress
	network           string // --network
	platform          string
	locked            bool
	settings          settingsFlags
	policy            policyFlag
	root              string
	runtime           string
	runtimeRoot       string
	systemd           bool
	noPivot           bool
	output            outputFlags
	reports           reportFlags
	timeout           time.Duration
	grace             time.Duration
	parallel          int
	failFast          bool
	artifacts         string
	provenance        provenanceFlags
	attested          *provenances
	collectJUnit      []string
	debug             debugFlags
	noProjectFile     bool
	projectEnv        []string // NAME=VALUE of the project file, below env and envFiles
	kill              <-chan struct{}
}

func newRun(kill <-chan struct{}) *cobra.Command {
	o := &runOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "run [FILE] [STEP...]",
		Short: "Run a pipeline",
		Long: `Run the steps of a pipeline file, each in its image. Without FILE it is
pipeline.yml, pipeline.yaml or .stepexec.yml of the working directory, or the file
of another CI system: .drone.yml or .woodpecker. FILE may also be the path of a
directory with such a file, such as . or ci/. If the file has several pipelines,
all of them run, in the order of the file.

STEPs are steps to run, as with --only. A first argument that names no file is a STEP.`,
		Example: `  stepexec run
  stepexec run test --with-needs
  stepexec run ci/pipeline.yml --only build --env CC=clang
  stepexec run --dry-run --event tag
  stepexec run --from test
  stepexec run --report report.html --report junit=out/steps.xml
  drone_password=... stepexec run deploy.yml --secret drone_password`,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = o.takeSteps(args)
			if err := o.projectDefaults(cmd.Flags(), firstOf(args)); err != nil {
				return err
			}
			if o.dryRun {
				return o.showDryRun(cmd.Context(), cmd.OutOrStdout(), args)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	flags := cmd.Flags()
	o.addPlan(flags)
	flags.StringArrayVar(&o.only, "only", nil, "run only this `STEP` (may be repeated)")
	flags.BoolVar(&o.withNeeds, "with-needs", false, "also run the steps that those of --only depend on")
	flags.StringVar(&o.egress, "egress", "", "what steps may reach outside the run: audit (everything, and it is recorded), deny (only what the pipeline lists), or a `FILE` with one name, address or network per line")
	flags.StringArrayVar(&o.skip, "skip", nil, "leave out this `STEP` (may be repeated)")
	o.again.add(flags)
	flags.BoolVar(&o.dryRun, dryRunFlag, false, "show which steps would run, in which order and images, and why the others would not; nothing is pulled or started")
	flags.StringArrayVar(&o.collectJUnit, "collect-junit", nil, "after each step without reports of its own, read the JUnit test reports in the workspace that match `PATTERN` (may be repeated)")
	flags.StringVar(&o.artifacts, "artifacts", "", "`directory` for the artifacts of the steps, each in a folder of its name (default: the run's record, see stepexec artifacts)")
	flags.BoolVar(&o.noProjectFile, "no-project-file", false, "do not read the project's default flags in "+projectFile)
	o.provenance.add(flags)
	o.reports.add(flags)
	o.output.add(cmd)
	o.debug.add(flags)
	flags.DurationVar(&o.grace, "grace", engine.DefaultGrace, "`time` that a step has between its stop signal and the kill, such as 30s")
	flags.IntVar(&o.parallel, "parallel", 0, "run at most `N` steps at once, the first in the file first (default: no limit)")
	flags.BoolVar(&o.failFast, "fail-fast", false, "end the other steps when one has failed (default: as the file says)")
	flags.Var((*timeFlag)(&o.timeout), "timeout", "`time` that the whole run may take, such as 10m; a bare number is seconds (default: as the file says)")
	complete(cmd, "pull", "always", "missing", "never")
	complete(cmd, "network", "host", "private", "none")
	complete(cmd, "keep", "all", "failed")
	complete(cmd, "layer-format", "auto", "directories", "erofs")
	return cmd
}

// addPlan adds the flags that decide which steps run, and on what.
func (o *runOptions) addPlan(flags *pflag.FlagSet) {
	flags.BoolVar(&o.asDocker, "as-docker", false, "run Drone's pipelines of the types kubernetes and exec, too, in the images that their steps name")
	flags.StringArrayVar(&o.privilegedPlugins, "privileged-plugin", nil, "`IMAGE` of a plugin of Drone or Woodpecker that is privileged by itself (may be repeated)")
	flags.StringVar(&o.workspace, "workspace", "", "`directory` shared by all steps (default: the folder of FILE)")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "environment variable `NAME[=VALUE]` for all steps; without a value, from the environment")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "dotenv `FILE` of environment variables for all steps")
	flags.StringArrayVar(&o.secrets, "secret", nil, "secret `NAME[=VALUE]`, or NAME=cmd:COMMAND for what a shell command prints; without a value, from the environment")
	flags.StringArrayVar(&o.literalSecrets, "literal-secret", nil, "secret as for --secret, whose value is never a command")
	_ = flags.MarkHidden("literal-secret") // it exists; for actions-run
	flags.StringArrayVar(&o.secretFiles, "secret-file", nil, "dotenv `FILE` of secrets")
	flags.StringArrayVar(&o.matrix, "matrix", nil, "only the cells of the matrix with `AXIS=VALUE` (may be repeated)")
	addPipelines(flags, &o.pipelines)
	o.facts.add(flags)
	flags.StringVar(&o.pull, "pull", "", "when to pull images: always, missing or never (default: as the file says)")
	flags.StringVar(&o.network, "network", "", "network of steps that name none: host, private or none (default: host, and private for files of other CI systems)")
	flags.StringVar(&o.platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	flags.BoolVar(&o.locked, "locked", false, "fail unless every image is in the lock file (see stepexec lock)")
	o.settings.add(flags)
	o.policy.add(flags)
	o.settings.addRegistries(flags)
	o.settings.addStore(flags)
	o.settings.addRuntimeCalls(flags)
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
	if o.attested, err = o.provenance.open(); err != nil {
		return errors.Join(err, reports.close())
	}
	o.output.report, o.output.shared, o.output.root = reports.path(), o.debug.wantsShell(), o.root
	o.output.again = "run --failed"
	if len(args) > 0 {
		o.output.again += " " + shellWord(args[0])
	}
	shown, err := o.output.open(stdout)
	if err != nil {
		return errors.Join(err, reports.close(), o.attested.end(event.CodeError))
	}
	display := &reported{shown, reports, o.attested, o.root}
	code, err := o.show(ctx, display, args)
	if err != nil {
		code = codeOf(ctx)
		for _, failure := range failures(err) {
			display.Event(&failure)
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
	request, err := o.request(ctx, args, false)
	if err != nil {
		return 0, err
	}
	o.attested.ask(request, &o.provenance, o.policy.name)
	request.Machine.Say = sayOnStderr
	jobs, err := request.Jobs(ctx)
	if err != nil {
		return 0, err
	}
	request.Machine.Say = display.Say
	request.Machine.Trace = newTracer(display.Say)
	defer request.Machine.Trace.Close(o.kill)
	display.Hide(run.Secrets(jobs))
	defer announce(ctx, o.grace, display.Say)()
	options := engine.Options{
		Flush: display.Flush, Limits: engine.Limits{Parallel: o.parallel},
		Stop: engine.Stop{Kill: o.kill, Grace: o.grace}, Streams: engine.Streams{Terminal: usersTerminal(), Apart: o.output.format == "json"},
	}
	options.Events = o.debug.lend(&options, rooted(o.root, display.Event))
	return run.All(ctx, jobs, options)
}

// takeSteps adds the steps among the arguments to those of --only, and returns the file, or nothing.
func (o *runOptions) takeSteps(args []string) (file []string) {
	if len(args) == 0 {
		return nil
	}
	steps := args
	if !namesStep(args[0]) {
		file, steps = args[:1], args[1:]
	}
	o.only = append(o.only, steps...)
	return file
}

// jobs returns the runs that the flags and arguments ask for.
func (o *runOptions) jobs(ctx context.Context, args []string, preview bool) ([]*run.Job, error) {
	request, err := o.request(ctx, args, preview)
	if err != nil {
		return nil, err
	}
	return request.Jobs(ctx)
}

// request returns the request that the flags and arguments describe; for a preview nothing runs.
func (o *runOptions) request(ctx context.Context, args []string, preview bool) (*run.Request, error) {
	r, err := o.source(args)
	if err != nil {
		return nil, err
	}
	r.Preview = preview
	r.Pipelines, r.Matrix = o.pipelines, o.matrix
	r.Only, r.Skip, r.WithNeeds, r.From, r.Failed = o.only, o.skip, o.withNeeds, o.again.from, o.again.failed
	r.Pull, r.Locked, r.Timeout, r.FailFast = pipeline.PullPolicy(o.pull), o.locked, o.timeout, o.failFast
	if r.Egress, err = readEgress(o.egress); err != nil {
		return nil, err
	}
	r.Breakpoints = slices.Concat(o.debug.before, o.debug.after)
	if len(r.Breakpoints) > 0 && !preview && (!isTerminal(os.Stdin) || !isTerminal(os.Stdout)) {
		return nil, errors.New("--shell-before, --shell-after: standard input and output are not a terminal (without one, keep the step: --keep)")
	}
	if r.KeepSteps, err = o.debug.keepAll(); err != nil {
		return nil, err
	}
	switch r.Pull {
	case "", pipeline.PullAlways, pipeline.PullMissing, pipeline.PullNever:
	default:
		return nil, fmt.Errorf("--pull %s: must be always, missing or never", o.pull)
	}
	if r.Network != "" {
		if err := checkNetworkFlag(r.Network); err != nil {
			return nil, err
		}
	}
	if o.timeout < 0 {
		return nil, fmt.Errorf("--timeout %s: must be positive", o.timeout)
	}
	if o.parallel < 0 {
		return nil, fmt.Errorf("--parallel %d: must not be negative", o.parallel)
	}
	if o.workspace != "" {
		if r.Workspace, err = workspaceDir(o.workspace); err != nil {
			return nil, err
		}
	}
	if len(o.collectJUnit) > 0 {
		if _, err := artifact.ParsePatterns(o.collectJUnit); err != nil {
			return nil, fmt.Errorf("--collect-junit: %w", err)
		}
		r.CollectJUnit = o.collectJUnit
	}
	if o.artifacts != "" {
		if r.Artifacts, err = filepath.Abs(o.artifacts); err != nil {
			return nil, err
		}
	}
	if r.Secrets, err = secretValues(ctx, secretSources{o.secretFiles, o.secrets, o.literalSecrets}, preview); err != nil {
		return nil, err
	}
	if r.Rules, err = o.policy.load(); err != nil {
		return nil, err
	}
	r.Machine.Settings, err = o.settings.load()
	return r, err
}

// source returns the part of a request that says which file to read, and how.
func (o *runOptions) source(args []string) (*run.Request, error) {
	r := &run.Request{
		AsDocker: o.asDocker, PrivilegedPlugins: o.privilegedPlugins,
		Defaults: o.projectEnv, EnvFiles: o.envFiles, Platform: o.platform, Facts: o.facts.source(), Network: o.network,
		Machine: run.Machine{Sandbox: o.sandbox(), Say: sayOnStderr},
	}
	if len(args) > 0 {
		r.File = args[0]
	}
	var err error
	r.Environment, err = variables("--env", o.env)
	return r, err
}

func (o *runOptions) sandbox() sandbox.Options {
	return sandbox.Options{Root: o.root, Runtime: o.runtime, RuntimeRoot: o.runtimeRoot, SystemdCgroup: o.systemd, NoPivot: o.noPivot, Guard: guardCommand()}
}

// addPipelines adds the flag that chooses among the pipelines of a file or folder.
func addPipelines(flags *pflag.FlagSet, names *[]string) {
	flags.StringArrayVar(names, "pipeline", nil, "only the pipeline `NAME` of a file that has several (may be repeated)")
}

// workspaceDir returns the folder that --workspace names.
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
