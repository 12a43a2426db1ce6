package actions

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/stepexec/stepexec/event"
)

// codeUnknown is the exit code for what is not one of the runner's commands.
const codeUnknown = 1

// Hook answers one call of the runner.
type Hook struct {
	Root    string              // state root
	Network string              // of containers that do not say otherwise: private or host
	Env     func(string) string // variables, such as RUNNER_NAME
	Keeper  []string            // the command line by which this program is a keeper, which gets its order on stdin

	Stdout, Stderr *os.File // the step's log
}

// Run reads a request and does what it asks for. It returns the exit code: that of the
// runner's program, or stepexec's own, and then says why on stdout.
func (h *Hook) Run(ctx context.Context, stdin io.Reader) int {
	code, err := h.run(ctx, stdin)
	if err != nil {
		h.complain(err)
	}
	return code
}

// complain says what stepexec could not do, in the runner's words, so that it shows in the
// job's summary.
func (h *Hook) complain(err error) {
	fmt.Fprintln(h.Stdout, "::error::"+escaped("stepexec: "+err.Error()))
}

func (h *Hook) run(ctx context.Context, stdin io.Reader) (int, error) {
	request, err := ReadRequest(stdin)
	if err != nil {
		return event.CodeError, err
	}
	if h.Env("GITHUB_WORKSPACE") == "" {
		return event.CodeError, errors.New("GITHUB_WORKSPACE is not set: a container hook is called by a runner of GitHub Actions")
	}
	jobs := jobsOf(h.Root, h.Env)
	switch request.Command {
	case PrepareJob:
		return codeOf(h.prepare(ctx, jobs, &request))
	case CleanupJob:
		h.showServices(ctx, jobs)
		return codeOf(jobs.endAll(ctx))
	case RunScriptStep, RunContainerStep:
		return h.step(ctx, jobs, &request)
	}
	return codeUnknown, fmt.Errorf("the runner's command %q is not known (this stepexec knows %s, %s, %s and %s)", request.Command, PrepareJob, RunScriptStep, RunContainerStep, CleanupJob)
}

func codeOf(err error) (int, error) {
	if err != nil {
		return event.CodeError, err
	}
	return 0, nil
}

// prepare starts the job's containers.
func (h *Hook) prepare(ctx context.Context, jobs jobs, request *Request) error {
	// The runner died with one. An interrupt does not shorten this: nothing is left after it.
	if err := errors.Join(jobs.endAll(context.WithoutCancel(ctx)), context.Cause(ctx)); err != nil {
		return err
	}
	if err := jobs.endLeft(ctx); err != nil {
		fmt.Fprintf(h.Stdout, "warning: a job that another runner has left: %v\n", err)
	}
	if request.Args.Job == nil && len(request.Args.Services) == 0 {
		return nil
	}
	folder, err := jobs.make(h.Env("RUNNER_TEMP"))
	if err != nil {
		return err
	}
	o := order{Args: *request.Args, Folder: folder, Network: h.Network, Owner: readOwner(folder), Folders: foldersOf(h.Env, request.Args.Job)}
	response, err := h.startKeeper(ctx, &o)
	if err == nil {
		err = context.Cause(ctx) // interrupted as the job became ready
	}
	if err != nil {
		return errors.Join(err, endJob(context.WithoutCancel(ctx), folder))
	}
	if request.ResponseFile == "" {
		return nil
	}
	return response.write(request.ResponseFile)
}

// startKeeper starts the job's keeper, which outlives this process, and waits until all is
// ready.
func (h *Hook) startKeeper(ctx context.Context, o *order) (*Response, error) {
	in, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	keeper := exec.Command("/proc/self/exe")
	keeper.Args = h.Keeper
	keeper.Stdin = strings.NewReader(string(in))
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the runner ends the hook's process group
	keeper.Env = keeperEnvironment(os.Environ())
	out, err := keeper.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr strings.Builder
	keeper.Stderr = &stderr
	keeper.WaitDelay = pipeDelay
	if err := keeper.Start(); err != nil {
		return nil, fmt.Errorf("start the process that keeps the job's containers: %w", err)
	}
	followed := make(chan struct{})
	defer close(followed)
	defer context.AfterFunc(ctx, func() {
		endKeeper(keeper.Process, followed)
		_ = out.Close() // what the keeper has started may hold the other end
	})()
	response, err := h.follow(out)
	if err == nil {
		return response, keeper.Process.Release()
	}
	waitErr := keeper.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the process that keeps the job's containers died: %w: %s", waitErr, strings.TrimSpace(stderr.String()))
	}
	return nil, err
}

// pipeDelay is the time that the last words of a keeper which has ended are waited for.
const pipeDelay = time.Second

// endKeeper ends a keeper, by force if it takes longer than killAfter: its guard clears away
// then. over is closed when the keeper has ended.
func endKeeper(keeper *os.Process, over <-chan struct{}) {
	_ = keeper.Signal(syscall.SIGTERM)
	timer := time.NewTimer(killAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = keeper.Kill()
	case <-over:
	}
}

// keeperEnvironment leaves out the variable by which the runner finds, and kills, what a step
// has left behind.
func keeperEnvironment(env []string) []string {
	var kept []string
	for _, variable := range env {
		if !strings.HasPrefix(variable, "RUNNER_TRACKING_ID=") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// follow shows what the keeper says until it is ready or has failed.
func (h *Hook) follow(out io.Reader) (*Response, error) {
	decoder := json.NewDecoder(bufio.NewReader(out))
	for {
		var r report
		if err := decoder.Decode(&r); err != nil {
			return nil, io.EOF
		}
		switch {
		case r.Failed != "":
			return nil, errors.New(r.Failed)
		case r.Ready != nil:
			return r.Ready, nil
		}
		fmt.Fprintln(h.Stdout, r.Say)
	}
}

// step runs a script in the job's container, or a container.
func (h *Hook) step(ctx context.Context, jobs jobs, request *Request) (int, error) {
	folder, err := request.job()
	if err != nil {
		return event.CodeError, err
	}
	c := &request.Args.Container
	if folder == "" {
		if request.Command == RunScriptStep {
			return event.CodeError, errors.New("the job has no container: the runner has not called prepare_job, or has lost its state")
		}
		return h.alone(ctx, jobs, c)
	}
	if !jobs.owns(folder) {
		return event.CodeError, fmt.Errorf("the state that the runner keeps names %s, which is no job of this runner", folder)
	}
	if request.Command == RunContainerStep {
		return h.call(ctx, folder, &call{Container: c})
	}
	return h.call(ctx, folder, &call{Script: c})
}

// call has a keeper run something, and shows what it prints.
func (h *Hook) call(ctx context.Context, folder string, what *call) (int, error) {
	conn, err := dial(folder)
	if err != nil {
		return event.CodeError, jobGone(err)
	}
	defer conn.Close()
	a, err := h.relayed(func(stdout, stderr *os.File) (answer, error) { return what.request(ctx, conn, stdout, stderr) })
	if ctx.Err() != nil {
		return event.CodeInterrupted, context.Cause(ctx)
	}
	if err != nil {
		return event.CodeError, err
	}
	for _, line := range a.Log {
		fmt.Fprintln(h.Stderr, line)
	}
	for _, warning := range a.Warnings {
		fmt.Fprintln(h.Stdout, "warning: "+warning)
	}
	h.tellDeaths(&a)
	return h.end(a)
}

func jobGone(err error) error {
	return fmt.Errorf("the job's containers are gone: the process that keeps them has ended (see stepexec history): %w", err)
}

// tellDeaths has the runner annotate the job with services that have ended by themselves.
func (h *Hook) tellDeaths(a *answer) {
	for _, text := range a.Deaths {
		fmt.Fprintln(h.Stdout, "::warning::"+escaped(text))
	}
}

// logsTime bounds how long the logs of services are waited for at the end of a job.
const logsTime = 5 * time.Second

// showServices writes what the services of a job have printed. The end of the job does not
// depend on it: a keeper that has died or hangs has nothing to show.
func (h *Hook) showServices(ctx context.Context, jobs jobs) {
	folders, err := jobs.all()
	if err != nil {
		return
	}
	for _, folder := range folders {
		conn, err := dial(folder)
		if err != nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(logsTime))
		a, err := h.relayed(func(stdout, stderr *os.File) (answer, error) {
			return (&call{Logs: true}).request(ctx, conn, stdout, stderr)
		})
		_ = conn.Close()
		if err == nil {
			h.tellDeaths(&a)
		}
	}
}

// end says whose failure it was: the runner will tell people to see its administrator.
func (h *Hook) end(a answer) (int, error) {
	switch {
	case a.Code == 0:
		return 0, nil
	case a.Error != "":
		return a.Code, errors.New(a.Error)
	}
	fmt.Fprintf(h.Stdout, "The step's own command failed, with exit code %d. Nothing is wrong with the runner.\n", a.Code)
	return a.Code, nil
}

// alone runs a container of a job that has no other: it gets a keeper for this one call.
func (h *Hook) alone(ctx context.Context, jobs jobs, c *Container) (code int, err error) {
	folder, err := jobs.make(h.Env("RUNNER_TEMP"))
	if err != nil {
		return event.CodeError, err
	}
	defer func() { err = errors.Join(err, endJob(context.WithoutCancel(ctx), folder)) }()
	if _, err := h.startKeeper(ctx, &order{Folder: folder, Network: h.Network, Owner: readOwner(folder), Folders: foldersOf(h.Env, c)}); err != nil {
		return event.CodeError, err
	}
	return h.call(ctx, folder, &call{Container: c})
}

// relayed runs something whose output goes to this process's by a pipe: processes that a step
// has left in the background would keep the runner's own open, and it waiting. Both streams
// share the pipe, for the runner shows both in one log, and would mix up their lines.
func (h *Hook) relayed(run func(stdout, stderr *os.File) (answer, error)) (answer, error) {
	var pipe relay
	if err := pipe.open(h.Stdout); err != nil {
		return answer{}, err
	}
	defer pipe.close()
	a, err := run(pipe.in, pipe.in)
	return a, errors.Join(err, pipe.end())
}
