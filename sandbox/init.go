package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/sandbox/childinit"
)

// copyInit copies the program of stepexec, which is that of init processes too, into the run's
// directory. The steps get the copy: with the program itself, a step that may remount could write to
// what root executes on the host (compare CVE-2019-5736). It is outside the run's memory, from
// which nothing can be executed.
func (h *Host) copyInit() (path string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy the program of init processes: %w", err)
		}
	}()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer from.Close()
	path = filepath.Join(h.dir, "init")
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	return path, errors.Join(err, to.Chmod(0o555), to.Close())
}

// withInit puts the init process in front of a command.
func withInit(command []string) []string { return slices.Concat([]string{childinit.Path}, command) }

// hasInit reports whether a process is an init process. A patch of the specification, or a shell
// in place of the command, can have taken it away.
func hasInit(process *specs.Process) bool {
	return len(process.Args) > 1 && process.Args[0] == childinit.Path
}

// commandOf is the process that executes the command: the one that an init process starts, or the
// process itself.
func commandOf(process *specs.Process) *specs.Process {
	if !hasInit(process) {
		return process
	}
	command := *process
	command.Args = process.Args[1:]
	return &command
}

// initFailed is the error of an init process that has ended under the name by which it says that
// it could not execute the command.
func (s *Sandbox) initFailed(name string, exit Exit) error {
	if !hasInit(s.process) || strings.TrimSuffix(name, "\n") != childinit.Unexecuted {
		return nil
	}
	failure := &CommandError{Code: exit.Code, Command: s.process.Args[1], Image: s.step.Image}
	if s.fault != nil {
		failure.Code, failure.Why = s.fault.code, s.fault.why
	}
	return failure
}
