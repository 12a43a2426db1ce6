package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/guardwait"
)

// Guard waits until the run of a directory is over, which it learns from the end of the pipe, and
// clears away whatever remains if the run's process has died, however that happened: the kernel
// closes a dead process's end of a pipe. It is called in a separate process, with that process's
// standard input; see Options.Guard. Package guardwait is the part of that process that waits.
func Guard(ctx context.Context, pipe *os.File, dir, runtime string) error {
	// If a user called it by hand, it would otherwise delete whatever directory was named.
	_, err := os.Stat(filepath.Join(dir, "private"))
	runs, run := filepath.Split(dir)
	if err != nil || filepath.Base(runs) != "runs" || !regexp.MustCompile(`^[a-z2-7]{10}$`).MatchString(run) {
		return errors.New("guard a run: only stepexec itself starts a guard")
	}
	if _, err := io.Copy(io.Discard, pipe); err != nil {
		return fmt.Errorf("wait for the end of the run: %w", err)
	}
	// With this lock, anyone who starts now, or removes layers, finds either the whole run or
	// nothing.
	all, err := lockRuns(filepath.Dir(filepath.Clean(runs)), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer all.Close()
	// The dead process releases its lock a moment after its end of the pipe closes.
	lock, err := openLocked(dir, unix.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the run ended normally
	}
	if err != nil {
		return err
	}
	return errors.Join(clearAway(ctx, runtime, dir), lock.Close())
}

// guardProcess is the process in which Guard waits.
type guardProcess struct {
	command *exec.Cmd
	pipe    *os.File // this process's end; it is never written to
}

// startGuard starts the guard of a run; without arguments there is none.
//
// The guard has its own session: neither Ctrl-C nor the end of the terminal reaches it. It holds
// nothing of the run open: neither the output, whose reader waits for its end, nor the working
// directory. Its environment contains only the variables needed to look up programs: the rest may
// hold secrets.
func startGuard(ctx context.Context, args []string, dir, runtime string) (*guardProcess, error) {
	if args == nil {
		return nil, nil
	}
	// Descriptors that stepexec was started with would otherwise be inherited by the guard, and
	// whoever waits for their end would keep waiting.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("keep descriptors to ourselves: %w", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	command := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe") // a cancelled run still needs it
	command.Args = slices.Concat(args, []string{dir, runtime})
	command.Dir, command.Stdin = "/", in
	for _, name := range []string{"PATH", "CNI_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	// The guard hardly runs, so more threads would be a waste.
	command.Env = append(command.Env, guardwait.Variable+"=1", "GOMAXPROCS=1")
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of the run: %w", err), out.Close())
	}
	return &guardProcess{command, out}, nil
}

// end ends a guard that is no longer needed; it does nothing on nil.
func (g *guardProcess) end() error {
	if g == nil {
		return nil
	}
	err := ignoreDone(g.command.Process.Kill())
	var killed *exec.ExitError
	if wait := g.command.Wait(); !errors.As(wait, &killed) {
		err = errors.Join(err, wait)
	}
	return errors.Join(err, g.pipe.Close())
}
