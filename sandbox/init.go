package sandbox

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/childinit"
)

// initName is the name of the program of init processes in the folders below.
const initName = "init"

// mountInit returns the program of init processes, which is that of stepexec, for the run's steps.
//
// The attack that its place prevents: a step that may remount makes its mount of the program
// writable, and changes what root executes on the host (compare CVE-2019-5736), or what other runs
// execute in their steps. So steps get a copy, and the copy through an overlay that has no upper
// directory, which nothing makes writable. All runs share the copy:
//
//	ROOT/init/NAME/bin/init  the copy, where NAME tells one program from another
//	ROOT/runs/ID/init/init   what the run's steps get
func (h *Host) mountInit() (path string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("provide the program of init processes: %w", err)
		}
	}()
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer program.Close()
	dir := filepath.Join(h.dir, "init")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if h.initCopy, err = sharedInit(filepath.Join(h.root(), "init"), program); err != nil {
		return "", err
	}
	path = filepath.Join(dir, initName)
	lower := []string{filepath.Join(h.initCopy.Name(), "none"), filepath.Join(h.initCopy.Name(), "bin")}
	if err := mountOverlay(lower, "", "", dir); refusesOverlay(err) {
		return path, copyProgram(program, path) // a copy of the run's own
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// releaseInit allows other runs to remove the copy. Nothing of it is mounted any more.
func (h *Host) releaseInit() error {
	if h.initCopy == nil {
		return nil
	}
	return h.initCopy.Close()
}

// sharedInit returns the folder with the copy of the program, locked against removal, and makes it
// when missing. Copies of other programs go when no run uses them.
func sharedInit(all string, program *os.File) (copied *os.File, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(program.Fd()), &st); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(all, 0o700); err != nil {
		return nil, err
	}
	lock, err := openLocked(all, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	// Whatever changes the program's content changes its time of change, too. Hashing it would take
	// longer than starting a container.
	name := fmt.Sprintf("%x-%x-%x-%x", st.Dev, st.Ino, st.Size, st.Ctim.Nano())
	dir := filepath.Join(all, name)
	copied, err = openLocked(dir, unix.LOCK_SH)
	if !errors.Is(err, os.ErrNotExist) {
		return copied, err
	}
	if err := sweepInits(all); err != nil {
		return nil, err
	}
	if err := makeSharedInit(dir, program); err != nil {
		return nil, err
	}
	return openLocked(dir, unix.LOCK_SH)
}

// makeSharedInit makes the folder of a copy, which gets its name only once the copy is on disk.
func makeSharedInit(dir string, program *os.File) error {
	unfinished := dir + ".new" // of a killed process, if it is there: see sweepInits
	for _, sub := range []string{"bin", "none"} {
		if err := os.MkdirAll(filepath.Join(unfinished, sub), 0o755); err != nil {
			return err
		}
	}
	if err := copyProgram(program, filepath.Join(unfinished, "bin", initName)); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	return os.Rename(unfinished, dir)
}

// sweepInits removes the copies that no run uses. The caller holds the lock of their folder.
func sweepInits(all string) error {
	entries, err := os.ReadDir(all)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(all, entry.Name())
		lock, err := openLocked(dir, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(dir), lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

// copyProgram copies the program to a file that nobody may write.
func copyProgram(program *os.File, path string) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(program, 0, math.MaxInt64))
	return errors.Join(err, to.Chmod(0o555), to.Sync(), to.Close())
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
