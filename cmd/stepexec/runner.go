package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/trace"
	"github.com/stepexec/stepexec/unpack/erofs"
)

// newRunner returns the parent of the runner commands for CI servers.
func newRunner(kill <-chan struct{}) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runner",
		Short: "Work for a CI server",
		Long: `Run the pipelines that a CI server hands out, until interrupted. After the first SIGINT
or SIGTERM, running pipelines finish and no new ones start; the second cancels them.`,
		Example: "  stepexec runner woodpecker",
		Args:    knownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(asRoot(newRunnerDrone(kill)), asRoot(newRunnerWoodpecker(kill)))
	return cmd
}

// workbench is what all runners need to run work.
type workbench struct {
	root, runtime, runtimeRoot string
	systemd, noPivot           bool
	settings                   settingsFlags
	policy                     policyFlag
	network                    string
	pull                       string
	grace                      time.Duration
	outage                     time.Duration // time for which refusals of a server that has answered before count as an outage
	slots                      chan struct{} // has room for as many elements as steps of all pipelines may run at once; nil: no limit
	tracer                     *trace.Tracer // of all runs; nil: none
	say                        func(line string)
}

// bySource is the policy of a runner whose administrator names none.
const bySource = "default"

// add adds the flags. def describes the default policy in words; pull is the default for steps that
// do not set it.
func (w *workbench) add(flags *pflag.FlagSet, def string, pull pipeline.PullPolicy) {
	flags.StringVar(&w.policy.name, "policy", bySource, "what pipelines may ask for: default ("+def+"), trusted, untrusted, or a `FILE`")
	flags.StringVar(&w.network, "network", sandbox.NetworkPrivate, "network of steps that name none: private, host or none")
	flags.StringVar(&w.pull, "pull", string(pull), "`when` images of steps that do not say are pulled: always (one question each where nothing has moved), missing or never")
	flags.DurationVar(&w.grace, "grace", engine.DefaultGrace, "`time` that a step has between its stop signal and the kill")
	flags.DurationVar(&w.outage, "outage", time.Hour, "`time` for which 401, 403, 404 and 5xx of a server that has answered before count as its absence")
	w.settings.add(flags)
	w.settings.addRegistries(flags)
	w.settings.addStore(flags)
	w.settings.addRuntimeCalls(flags)
	addRuntime(flags, &w.runtime)
	addRuntimeRoot(flags, &w.runtimeRoot)
	addSystemdCgroup(flags, &w.systemd)
	addNoPivot(flags, &w.noPivot)
	addRoot(flags, &w.root)
}

// checkNetworkFlag rejects an unknown network of steps.
func checkNetworkFlag(name string) error {
	if !slices.Contains([]string{sandbox.NetworkPrivate, sandbox.NetworkHost, sandbox.NetworkNone}, name) {
		return fmt.Errorf("--network %s: must be private, host or none", name)
	}
	return nil
}

// open reads everything that the flags name, so that a runner with wrong flags does not start. It
// also clears away runs that died with an earlier runner.
func (w *workbench) open(ctx context.Context, way policy.Way) (runner.Execute, error) {
	execute, err := w.read(way)
	if err != nil {
		return nil, err
	}
	return execute, w.clear(ctx)
}

// clear clears away runs that died with an earlier runner, and cgroups of runs that are over. Its
// error says that this machine or user cannot run steps.
func (w *workbench) clear(ctx context.Context) error {
	cleared, err := sandbox.Reap(ctx, sandbox.Options{Root: w.root, Runtime: w.runtime, RuntimeRoot: w.runtimeRoot})
	switch {
	case errors.Is(err, sandbox.ErrNoRuntime), errors.Is(err, sandbox.ErrPrivilege):
		return err
	case err != nil:
		w.say("warning: " + err.Error())
	}
	if len(cleared) > 0 {
		w.say("cleared away runs of an earlier runner that died: " + strings.Join(cleared, ", "))
	}
	return nil
}

// read reads everything that the flags name.
func (w *workbench) read(way policy.Way) (runner.Execute, error) {
	if err := checkNetworkFlag(w.network); err != nil {
		return nil, err
	}
	if !slices.Contains([]pipeline.PullPolicy{pipeline.PullAlways, pipeline.PullMissing, pipeline.PullNever}, pipeline.PullPolicy(w.pull)) {
		return nil, fmt.Errorf("--pull %s: must be always, missing or never", w.pull)
	}
	if w.grace <= 0 {
		return nil, fmt.Errorf("--grace %s: must be positive", w.grace)
	}
	if w.outage <= 0 {
		return nil, fmt.Errorf("--outage %s: must be positive", w.outage)
	}
	if _, err := w.settings.load(); err != nil {
		return nil, err
	}
	rules, err := w.rules()
	if err != nil {
		return nil, err
	}
	bench := run.Bench{
		Machine: run.Machine{
			Sandbox: sandbox.Options{Root: w.root, Runtime: w.runtime, RuntimeRoot: w.runtimeRoot, SystemdCgroup: w.systemd, NoPivot: w.noPivot, Guard: guardCommand(), Images: &erofs.Kept{}},
			Say:     w.say, Trace: w.tracer,
		},
		Settings: w.settings.load, Grace: w.grace, Slots: w.slots, Rules: rules, Way: way, Pull: pipeline.PullPolicy(w.pull),
	}
	return bench.Execute, nil
}

// rules returns the administrator's policy, or nil to let the source of the work decide.
func (w *workbench) rules() (*policy.Policy, error) {
	if w.policy.name == bySource {
		return nil, nil
	}
	return w.policy.load()
}

// sayWithTime prints a line for the log of a runner.
func sayWithTime(line string) {
	fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), line)
}
