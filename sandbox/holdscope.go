package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// scopeHold is the group below a scope in which stepexec's own process waits.
const scopeHold = "stepexec-hold"

// holdScope keeps systemd from removing a step's scope as soon as its last process has ended,
// because its counters tell what the step used and whether it ran out of memory. The holding
// process, a cat, ends with stepexec, when its input ends.
func (c cgroup) holdScope() (release func() error, err error) {
	scope := c.unified
	if scope == "" {
		scope = c.v1["name=systemd"] // the tree that systemd watches on machines without v2
	}
	if scope == "" {
		return nil, errors.New("hold the step's scope: systemd has made none")
	}
	dir := filepath.Join(scope, scopeHold)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("hold the step's scope: %w", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, unix.Rmdir(dir))
	}
	defer in.Close()
	holder := exec.Command("cat")
	holder.Dir, holder.Env, holder.Stdin = "/", []string{}, in
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = holder.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold the step's scope: %w", err), out.Close(), unix.Rmdir(dir))
	}
	release = func() error {
		// It is killed because in a frozen scope it would not see the end of its input.
		err := errors.Join(ignoreDone(holder.Process.Kill()), out.Close())
		_ = holder.Wait() // always reports that it was killed
		if removed := unix.Rmdir(dir); removed != nil && !errors.Is(removed, unix.ENOENT) {
			err = errors.Join(err, &os.PathError{Op: "rmdir", Path: dir, Err: removed})
		}
		return err
	}
	procs := filepath.Join(dir, "cgroup.procs")
	if err := os.WriteFile(procs, fmt.Append(nil, holder.Process.Pid), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("hold the step's scope: %w", err), release())
	}
	return release, nil
}
