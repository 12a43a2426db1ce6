package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// stepOptions are the flags of `stepexec step`.
type stepOptions struct {
	keys        stepKeys
	env         []string
	envFiles    []string
	secrets     []string
	workspace   string
	entrypoint  *string
	rootfs      bool
	detach      bool
	propagation string
	pidFile     string
	platform    string
	timeout     time.Duration
	reports     reportFlags
	settings    settingsFlags
	policy      policyFlag
	root        string
	runtime     string
	runtimeRoot string
	noPivot     bool
	systemd     bool
	debug       debugFlags
	quiet       bool
	stopTimeout int    // seconds; 0 means engine.DefaultGrace
	idFile      string // "" is none
	kill        <-chan struct{}
}

// codeNotFound is the exit code of a command that does not exist, as in shells.
const codeNotFound = 127

func newStep(kill <-chan struct{}) *cobra.Command {
	o := &stepOptions{kill: kill}
	cmd := &cobra.Command{
		Use:   "step [flags] IMAGE [COMMAND [ARG...]]",
		Short: "Run one command in an image",
		Long: `Run one command in an image, as a step of a pipeline would run. Flags have the names
that ctr run and docker run give them, and end at IMAGE.

What the command prints comes as it is, and its exit code is that of stepexec:
124 timeout; 125 stepexec itself could not do it; 126 the command cannot be
executed; 127 there is no such command; 130 interrupted; 137 out of memory.`,
		Example: `  stepexec step alpine cat /etc/os-release
  stepexec step --env PASSWORD=$drone_password \
    --mount type=bind,src=/etc,dst=/host-etc,options=rbind:rw alpine cat /host-etc/hostname
  stepexec step -it alpine sh
  tar c . | stepexec step -i --memory 1g --network none alpine tar tv`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
			if err == exitError(codeNotFound) && len(args) > 2 && o.entrypoint == nil {
				sayOnStderr(fmt.Sprintf("if %s is meant as the container's ID, as ctr has it, write stepexec ctr-run in place of stepexec step", args[1]))
			}
			return err
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *stepOptions) add(flags *pflag.FlagSet) {
	flags.SetInterspersed(false)
	flags.Bool("help", false, "help for step") // as in docker, -h NAME sets the host name; -h alone is help
	o.keys.set("--name", "name", "step")
	o.keys.add(flags)
	flags.StringArrayVarP(&o.env, "env", "e", nil, "set an environment variable, `NAME[=VALUE]`; without a value, it is taken from the environment")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "read variables from `FILE`: lines of NAME=VALUE, taken literally; NAME alone takes the host's value")
	flags.StringArrayVar(&o.secrets, "secret", nil, "pass a secret, `NAME[=VALUE]` or NAME[,type=env][,target=T], as a file in /run/secrets or as a variable, masked in the output; without a value, it is taken from the environment")
	flags.StringVar(&o.workspace, "workspace", "", "mount `directory` at /workspace and use it as the working directory (default: none)")
	flags.BoolVarP(&o.detach, "detach", "d", false, "print the run's ID once the command has started, and leave it running; see stepexec ps, logs and stop")
	flags.Func("entrypoint", "`PROGRAM` to use instead of the image's entrypoint; \"\" means none", func(program string) error {
		o.entrypoint = &program
		return nil
	})
	flags.BoolVar(&o.rootfs, "rootfs", false, "treat IMAGE as a directory on the host, used as a read-only root file system")
	flags.StringVar(&o.propagation, "rootfs-propagation", "", "mount `PROPAGATION` of the root file system: private, slave, shared or unbindable, or one of these with r in front")
	flags.StringVar(&o.pidFile, "pid-file", "", "write the command's process ID to `FILE`")
	flags.StringVar(&o.platform, "platform", "", "platform of the image, such as linux/arm64 (default: this machine's)")
	flags.Var((*timeFlag)(&o.timeout), "timeout", "stop the command after this `time`, such as 10m; a bare number is in seconds")
	o.reports.add(flags)
	o.debug.addShell(flags)
	o.settings.add(flags)
	o.policy.add(flags)
	o.settings.addRegistries(flags)
	o.settings.addStore(flags)
	o.settings.addRuntimeCalls(flags)
	addRuntime(flags, &o.runtime)
	addNoPivot(flags, &o.noPivot)
	flags.StringVar(&o.runtime, "runc-binary", "runc", "same as --runtime `NAME`")
	addRuntimeRoot(flags, &o.runtimeRoot)
	flags.StringVar(&o.runtimeRoot, "runc-root", "", "same as --runtime-root `directory`")
	addSystemdCgroup(flags, &o.systemd)
	flags.BoolVar(&o.systemd, "runc-systemd-cgroup", false, "same as --systemd-cgroup")
	addRoot(flags, &o.root)
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "do not show the progress of the pull")
	flags.IntVar(&o.stopTimeout, "stop-timeout", 0, "`seconds` to wait after the stop signal before killing the command (default 10)")
	flags.StringVar(&o.idFile, "cidfile", "", "write the run's ID to `FILE`, which must not exist yet")
	addNoEffect(flags)
	o.keys.addForeign(flags)
}

// addNoEffect adds flags that people type from habit, and that change nothing here or are not
// supported.
func addNoEffect(flags *pflag.FlagSet) {
	flags.Bool("rm", true, "has no effect: the container is always removed")
	flags.String("fifo-dir", "", "has no effect: FIFOs are always in memory that only stepexec can read")
	refuse := func(name, short, why string) {
		flags.BoolFuncP(name, short, why, func(string) error { return refusal{why} })
		flags.Lookup(name).Hidden = true
	}
	for _, name := range []string{"snapshotter", "snapshotter-label", "remap-labels"} {
		refuse(name, "", "there are no snapshotters: layers are mounted with overlayfs, or copied where the kernel has none; see --layer-format")
	}
	for _, name := range []string{"image", "container"} {
		refuse(name, "", "the image is an argument, which follows the flags: stepexec step [flags] IMAGE [COMMAND [ARG...]]")
	}
	for _, name := range []string{"command", "cmd", "args", "script", "shell"} {
		refuse(name, "", "the command follows the image: stepexec step [flags] IMAGE COMMAND [ARG...] (for shell syntax: IMAGE sh -c 'COMMANDS')")
	}
	for name, own := range map[string]string{"mem": "--memory", "environment": "--env", "directory": "--workdir", "id": "--name"} {
		refuse(name, "", "write "+own)
	}
	refuse("rdt-class", "", "classes of cache and memory bandwidth are not supported: see --cpuset-cpus, --cpus and --memory")
	refuse("runtime-config-path", "", "a runtime has no configuration here: give --runtime a script that calls it with its options")
}

// shimForm matches containerd's names of runtimes, whose shims are not needed here.
var shimForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^io\.containerd\.(runc|runsc|crun|youki)\.v[0-9]+$`)
})

// runtimeName returns the runtime that the flag names.
func (o *stepOptions) runtimeName() (string, error) {
	if match := shimForm().FindStringSubmatch(o.runtime); match != nil {
		return match[1], nil
	}
	if strings.HasPrefix(o.runtime, "io.containerd.") {
		return "", fmt.Errorf("--runtime %s: the name of a shim, which stepexec does not use (give the name or path of an OCI runtime: runc, crun)", o.runtime)
	}
	return o.runtime, nil
}

func (o *stepOptions) run(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	plan, in, err := o.plan(args)
	if err != nil {
		return run.Masked(err, in.Secrets)
	}
	reports, err := o.reports.open()
	if err != nil {
		return err
	}
	code, err := o.execute(ctx, plan, in.Dir, stdout, stderr, reports)
	if err != nil {
		code = event.CodeError
		reports.event(&event.Event{Kind: event.Failure, Time: time.Now(), Error: run.Masked(err, in.Secrets).Error()})
	}
	if err := errors.Join(err, reports.write(o.root, code, sayOnStderr)); err != nil {
		return run.Masked(err, in.Secrets)
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// plan returns a pipeline of the one step that the command line describes.
func (o *stepOptions) plan(args []string) (*policy.Plan, pipeline.Inputs, error) {
	in, uses, err := o.inputs()
	if err != nil {
		return nil, in, err
	}
	if o.rootfs {
		args = slices.Concat([]string{"rootfs:" + args[0]}, args[1:])
	}
	o.keys.set("IMAGE", "image", args[0])
	if err := o.keys.settlePorts(); err != nil {
		return nil, in, err
	}
	if err := o.command(args[1:]); err != nil {
		return nil, in, err
	}
	step, err := pipeline.ParseStep(o.keys.given)
	if err != nil {
		return nil, in, err
	}
	if step.Directory != "" && !path.IsAbs(step.Directory) && in.Workspace == "" {
		return nil, in, fmt.Errorf("--cwd %s: must be an absolute path without --workspace", step.Directory)
	}
	if o.detach && step.Stdin == pipeline.StdinInherited {
		return nil, in, errors.New("--detach: nobody could type: leave out --interactive")
	}
	for _, line := range o.keys.notes {
		sayOnStderr(line)
	}
	step.Secrets, step.Timeout, step.Advanced.PidFile, step.Advanced.IDFile = uses, o.timeout, o.pidFile, o.idFile
	if step.Advanced.SpecPatch, err = o.specPatch(); err != nil {
		return nil, in, err
	}
	rules, err := o.policy.load()
	if err != nil {
		return nil, in, err
	}
	origin, err := (&run.Machine{Sandbox: sandbox.Options{Root: o.root}}).Origin(policy.Command)
	if err != nil {
		return nil, in, err
	}
	plan, err := rules.Plan(&pipeline.Pipeline{Name: step.Name, Steps: []pipeline.Step{*step}}, in, origin)
	return plan, in, err
}

// command decides what is run: with an entrypoint, COMMAND is its arguments; without one (""),
// COMMAND is the whole command.
func (o *stepOptions) command(command []string) error {
	switch {
	case o.entrypoint != nil && *o.entrypoint != "":
		o.keys.set("--entrypoint", "entrypoint", []string{*o.entrypoint})
	case o.entrypoint != nil && len(command) == 0:
		return errors.New(`--entrypoint "": needs a COMMAND`)
	case o.entrypoint != nil:
		o.keys.set("COMMAND", "entrypoint", command)
		return nil
	}
	if len(command) > 0 {
		o.keys.set("COMMAND", "args", command)
	}
	return nil
}

func (o *stepOptions) specPatch() ([]byte, error) {
	if o.propagation == "" {
		return nil, nil
	}
	if !slices.Contains([]string{"private", "slave", "shared", "unbindable"}, strings.TrimPrefix(o.propagation, "r")) {
		return nil, fmt.Errorf("--rootfs-propagation %s: must be private, slave, shared or unbindable, or with r in front", o.propagation)
	}
	return json.Marshal(map[string]any{"linux": map[string]string{"rootfsPropagation": o.propagation}})
}

// inputs returns the inputs that are not part of the step itself, and the uses of the secrets.
func (o *stepOptions) inputs() (in pipeline.Inputs, uses []pipeline.SecretUse, err error) {
	in = pipeline.Inputs{Platform: o.platform, Mode: pipeline.ForSteps, LookupEnv: os.LookupEnv}
	if in.Secrets, uses, err = stepSecrets(o.secrets); err != nil {
		return in, nil, err
	}
	switch {
	case o.timeout < 0:
		return in, nil, fmt.Errorf("--timeout %s: must be positive", o.timeout)
	case o.stopTimeout < 0:
		return in, nil, fmt.Errorf("--stop-timeout %d: must not be negative", o.stopTimeout)
	}
	if in.Dir, err = os.Getwd(); err != nil {
		return in, nil, err
	}
	if o.workspace != "" {
		if in.Workspace, err = workspaceDir(o.workspace); err != nil {
			return in, nil, err
		}
	}
	fromFiles, err := envLines(o.envFiles, sayOnStderr)
	if err != nil {
		return in, nil, err
	}
	given, err := envFlags(o.env, sayOnStderr)
	in.Environment = append(fromFiles, given...) // of two values for a name, the later counts
	return in, uses, err
}

// execute runs the plan and returns the command's exit code.
func (o *stepOptions) execute(ctx context.Context, plan *policy.Plan, dir string, stdout, stderr io.Writer, reports *reports) (code int, err error) {
	s, err := o.settings.load()
	if err != nil {
		return 0, err
	}
	runtime, err := o.runtimeName()
	if err != nil {
		return 0, err
	}
	idFile, err := createIDFile(plan)
	if err != nil {
		return 0, err
	}
	if idFile != nil {
		defer func() { err = errors.Join(err, idFile.Close()) }()
	}
	pulls := &pullView{}
	machine := run.Machine{
		Sandbox:  sandbox.Options{Root: o.root, Runtime: runtime, RuntimeRoot: o.runtimeRoot, NoPivot: o.noPivot, SystemdCgroup: o.systemd, Guard: guardCommand()},
		Settings: s, Say: func(line string) { pulls.say(line) },
	}
	machine.Trace = newTracer(machine.Say)
	defer machine.Trace.Close(o.kill)
	fetcher := &fetch.Fetcher{
		Dir: dir, Platform: o.platform, AccessDir: machine.AccessDir(settings.SharedCredentials),
		Options: pull.Options{Registries: s.Registries},
	}
	if !o.detach && !o.quiet {
		pulls = newPullView()
		defer pulls.end()
	}
	fetcher.Events = func(e event.Event) {
		pulls.event(e)
		if e.Kind == event.PullFinished {
			pulls.end() // the following output may be the command's
		}
	}
	var unwritten error // error about the file for the run's ID
	say := func(e *event.Event) {
		if e.Kind == event.RunStarted {
			unwritten = writeIDFile(idFile, e.Run)
		}
		reports.event(e)
		if e.Kind != event.PullFinished || !pulls.shows {
			event.Visit(stepEvents{pulls.say}, *e)
		}
	}
	stop := engine.Stop{Kill: o.kill, Grace: time.Duration(o.stopTimeout) * time.Second}
	options := engine.Options{Stop: stop, Streams: engine.Streams{Stdin: os.Stdin, Terminal: usersTerminal()}}
	options.Events = o.debug.lend(&options, rooted(o.root, say))
	var endOut func() error
	options.Streams.Stdout, endOut = reports.tee(stdout, plan.Plan().Steps[0].Name, event.Stdout)
	defer func() { err = errors.Join(err, endOut()) }()
	if !isOnePlace(stdout, stderr) {
		var endErr func() error
		options.Streams.Stderr, endErr = reports.tee(stderr, plan.Plan().Steps[0].Name, event.Stderr)
		defer func() { err = errors.Join(err, endErr()) }()
	}
	if o.detach { // the command's output is in the record
		options = engine.Options{Stop: stop, Events: tellStarted(say)}
	}
	code, err = run.Execute(ctx, &run.Planned{Admitted: plan, Plan: plan.Plan(), Fetcher: fetcher}, machine, options)
	return code, errors.Join(err, unwritten)
}
