package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// ExecOptions describe a program to execute in a running sandbox. Fields that are not set default
// to those of the step's own command.
type ExecOptions struct {
	Args []string // the program, looked up in the PATH of its environment, and its arguments
	Env  []string // K=V, added to the step's
	User string   // name, uid, name:group, uid:gid; it also gets the supplementary groups that the step asks for
	Dir  string   // absolute
	Path []string // directories in front of those in PATH

	// Grace is the time between SIGTERM and SIGKILL when the context ends, for the program and
	// everything that it has started, even in other sessions; 0 means that its process group is
	// killed at once.
	Grace time.Duration
	Kill  <-chan struct{} // closed to end the grace early; may be nil

	Stdin          *os.File // nil: /dev/null
	Stdout, Stderr *os.File // inherited; nil: /dev/null; with a terminal all output goes to Stdout

	TTY      bool            // whether the program gets a terminal for its three streams
	Terminal func(*Terminal) // receives the terminal, to resize it, before the program reads any input; may be nil
}

// Exec runs one more program in a sandbox that has been started, with the step's user, capabilities
// and limits, and returns how it ended. When ctx ends first, Exec ends the program and everything
// that it has started: see ExecOptions.Grace. A *CommandError says that the program cannot be
// executed. Exec must have returned before Remove is called.
func (s *Sandbox) Exec(ctx context.Context, o ExecOptions) (_ Exit, err error) {
	if err := ctx.Err(); err != nil {
		return Exit{}, context.Cause(ctx)
	}
	process, err := s.execProcess(o)
	if err != nil {
		return Exit{}, err
	}
	kills := s.cgroup.oomKills()
	running, terminal, err := s.beginExec(ctx, process, o)
	defer func() { err = errors.Join(err, terminal.close()) }()
	if err != nil {
		return Exit{}, err
	}
	name := ""
	exit, err := s.waitExec(ctx, running, o, func() { name = processName(running.Pid) })
	err = errors.Join(err, exit.addKills(s.cgroup, kills))
	if name == s.waiting && err == nil && exit.Signal == 0 {
		err = s.notExecuted(name, process.Args[0], diagnose(fmt.Sprintf("/proc/%d/root", s.init.Pid), process))
	}
	return exit, err
}

// execProcess returns the step's own process, changed by the options.
func (s *Sandbox) execProcess(o ExecOptions) (*specs.Process, error) {
	if len(o.Args) == 0 {
		return nil, ErrNoCommand
	}
	process := *s.process
	process.Args, process.Terminal = o.Args, false
	process.Env = slices.Concat(process.Env, o.Env)
	if o.Dir != "" {
		if err := checkDirectory(o.Dir); err != nil {
			return nil, err
		}
		process.Cwd = o.Dir
	}
	if o.User != "" {
		rootfs := filepath.Join(s.bundle, "rootfs")
		who, err := lookupUser(rootfs, o.User)
		if err != nil {
			return nil, &UserError{User: o.User, Image: s.step.Image, Err: err}
		}
		if err := addGroups(who, rootfs, s.step.Security.Groups); err != nil {
			return nil, &UserError{User: o.User, Image: s.step.Image, Err: err}
		}
		process.User = processUser(who)
		process.Env = append(process.Env, "HOME="+who.Home)
	}
	process.Env = withPath(lastOfEach(process.Env), o.Path)
	if s.step.SafeDirectory {
		process.Env = withSafeDirectory(process.Env)
	}
	if o.TTY {
		withTerminal(&process)
	}
	return &process, nil
}

// withPath puts directories in front of those in PATH.
func withPath(env, dirs []string) []string {
	if len(dirs) == 0 {
		return env
	}
	for i, variable := range env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok && path != "" {
			dirs = append(slices.Clone(dirs), path)
			env[i] = "PATH=" + strings.Join(dirs, ":")
			return env
		}
	}
	return append(env, "PATH="+strings.Join(dirs, ":"))
}

// lastOfEach keeps only the last variable of each name: programs differ in which of two they see.
func lastOfEach(env []string) []string {
	var kept []string
	seen := map[string]bool{}
	for _, variable := range slices.Backward(env) {
		if name, _, _ := strings.Cut(variable, "="); !seen[name] {
			seen[name] = true
			kept = append(kept, variable)
		}
	}
	slices.Reverse(kept)
	return kept
}

// beginExec starts the process by the fork server or, if there is none that can, by the runtime.
func (s *Sandbox) beginExec(ctx context.Context, process *specs.Process, o ExecOptions) (_ *os.Process, _ *Terminal, err error) {
	if running, err := s.fork(ctx, process, o); running != nil || err != nil {
		return running, nil, err
	}
	dir, err := os.MkdirTemp(s.bundle, "exec-") // in memory: the environment has secrets
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return s.startExec(ctx, dir, process, o)
}

// startExec lets the runtime start the process. The runtime exits as soon as the process runs, so
// the process becomes a child of stepexec, like the container's init process.
func (s *Sandbox) startExec(ctx context.Context, dir string, process *specs.Process, o ExecOptions) (_ *os.Process, _ *Terminal, err error) {
	ctx, cancel := s.stopping.call(ctx)
	defer cancel()
	pidFile, log := filepath.Join(dir, "pid"), filepath.Join(dir, "log")
	cmd, err := s.execCommand(ctx, dir, pidFile, log, process)
	if err != nil {
		return nil, nil, err
	}
	var socket *consoleSocket
	if process.Terminal {
		if socket, err = newConsoleSocket(dir); err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, socket.Close()) }()
		cmd.Args = append(cmd.Args, "--console-socket", socket.Path())
	} else {
		streams, err := newStdio(o.Stdin, o.Stdout, o.Stderr)
		if err != nil {
			return nil, nil, err
		}
		defer streams.Close()
		streams.Set(cmd)
	}
	cmd.Args = append(cmd.Args, s.id)
	running, err := callExec(cmd, pidFile)
	if err != nil {
		return nil, nil, s.execError(log, process.Args[0], killedBy(ctx, err))
	}
	if socket == nil {
		return running, nil, nil
	}
	t, err := receiveExec(ctx, socket, o)
	if err != nil {
		killLeader(running)
		_, waitErr := running.Wait()
		offspring.forget(running.Pid)
		return nil, nil, errors.Join(err, waitErr)
	}
	return running, t, nil
}

// execCommand returns the runtime's command line up to the container's name. go-runc's version
// would write the environment, with its secrets, to a disk.
func (s *Sandbox) execCommand(ctx context.Context, dir, pidFile, log string, process *specs.Process) (*exec.Cmd, error) {
	data, err := json.Marshal(process)
	if err != nil {
		return nil, fmt.Errorf("encode OCI process: %w", err)
	}
	file := filepath.Join(dir, "process.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, err
	}
	args := []string{"--root", s.runtime.Root, "--log", log, "--log-format", string(s.runtime.LogFormat)}
	if s.runtime.SystemdCgroup {
		args = append(args, "--systemd-cgroup")
	}
	args = append(args, "exec", "--detach", "--process", file, "--pid-file", pidFile)
	cmd := exec.CommandContext(ctx, s.runtime.Command, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // see newRuntime
	return cmd, nil
}

// callExec calls the runtime and returns the process that it has started.
func callExec(cmd *exec.Cmd, pidFile string) (running *os.Process, err error) {
	offspring.begin(pidFile)
	defer func() {
		if running == nil { // also after a panic
			err = errors.Join(err, offspring.fail(pidFile))
		}
	}()
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return offspring.adopt(pidFile)
}

func receiveExec(ctx context.Context, socket *consoleSocket, o ExecOptions) (*Terminal, error) {
	t, err := socket.receive(ctx, &Step{Stdin: o.Stdin, Stdout: o.Stdout})
	if err != nil {
		return nil, err
	}
	if o.Terminal != nil {
		o.Terminal(t)
	}
	t.begin()
	return t, nil
}

func (s *Sandbox) execError(log, command string, err error) error {
	failure := runtimeError("execute "+command, log, err)
	if code, ok := commandFailure(failure.Error()); ok {
		return &CommandError{Code: code, Command: command, Image: s.step.Image, Err: failure}
	}
	return failure
}

// waitExec waits for a program to end, or ends it. It calls atEnd between the program's end and the
// collection of its exit status.
func (s *Sandbox) waitExec(ctx context.Context, running *os.Process, o ExecOptions, atEnd func()) (Exit, error) {
	ended := make(chan struct{})
	var crashed error
	go func() { // it ends with the program
		defer close(ended)
		defer crash.Recover(&crashed)
		_ = running.WithHandle(func(pidfd uintptr) { awaitEnd(int(pidfd)) })
	}()
	var endErr error
	select {
	case <-ended:
	case <-ctx.Done():
		endErr = s.endExec(running, o, ended)
	}
	atEnd()
	state, err := running.Wait()
	offspring.forget(running.Pid)
	endErr = errors.Join(endErr, crashed)
	if err != nil {
		return Exit{}, errors.Join(fmt.Errorf("wait for the program: %w", err), endErr)
	}
	if ctx.Err() != nil {
		return exitOf(state), errors.Join(context.Cause(ctx), endErr)
	}
	return exitOf(state), endErr
}

// endExec ends a program and everything that it has started. It returns once the program has ended;
// nobody may have waited for the program before.
func (s *Sandbox) endExec(running *os.Process, o ExecOptions, ended <-chan struct{}) error {
	if o.Grace <= 0 {
		killLeader(running)
		<-ended
		return nil
	}
	family := s.familyOf(running.Pid)
	_ = unix.Kill(-family.group, unix.SIGTERM) // ESRCH: the group is empty
	err := family.stop()
	timer := time.NewTimer(o.Grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-o.Kill:
	}
	err = errors.Join(err, family.kill())
	killLeader(running)
	<-ended
	return errors.Join(err, family.kill()) // processes started in the meantime
}

// killLeader kills a program and the rest of its process group. Nobody may have waited for it
// before: its number could belong to another process.
func killLeader(running *os.Process) {
	_ = unix.Kill(-groupOf(running.Pid), unix.SIGKILL) // ESRCH: it does not lead a process group
	_ = running.Kill()                                 // it is dead already
}
