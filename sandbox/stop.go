package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// Stopping says how a step is stopped when its context ends.
type Stopping struct {
	Grace time.Duration   // between the stop signal and SIGKILL
	Now   <-chan struct{} // closed to kill at once, without the rest of the grace
}

// stop sends the stop signal. The returned channel has an element, nil or an error, once there is
// nothing more to wait for before the kill; it is nil when the step may use the whole grace.
//
// The command is process 1 of its namespace. The kernel withholds from process 1 signals that it
// has no handler for, which would end any other process: a shell that waits for its child, or a
// plain sleep, would sit out the grace. So the other processes of such a deaf command get the
// signal, and when they have ended the command is killed. A script's processes get the signal in
// any case, as with a terminal's Ctrl-C.
func (s *Sandbox) stop() (over <-chan error, err error) {
	if err := s.forks.end(); err != nil { // nobody needs to wait for it
		return nil, err
	}
	sig := stopSignal(cmp.Or(s.step.Advanced.StopSignal, s.step.Config.StopSignal))
	deaf, err := isDeaf(s.init.Pid, sig)
	if err != nil || !deaf && s.step.Script == nil {
		return nil, errors.Join(err, ignoreDone(s.init.Signal(sig)))
	}
	others, all, err := s.signalAll(sig)
	if !deaf || !all {
		closeFDs(others)
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { // ends with the processes, at the latest when the kill ends them all
		var err error
		defer func() { ended <- err }()
		defer crash.Recover(&err)
		for _, pidfd := range others {
			awaitEnd(pidfd)
			unix.Close(pidfd)
		}
	}()
	return ended, err
}

// isDeaf reports whether a process neither handles nor ignores a signal, according to
// proc_pid_status(5). It returns false for a process that has ended.
func isDeaf(pid int, sig unix.Signal) (bool, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigCgt" && name != "SigIgn" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return false, fmt.Errorf("read the signals of process %d: %w", pid, err)
		}
		if set>>(sig-1)&1 == 1 {
			return false, nil
		}
	}
	return true, nil
}

// heldAtOnce is the number of processes of a step that are held by descriptors at a time: a step
// may have thousands, and other steps need descriptors too.
const heldAtOnce = 256

// signalAll sends sig to every process of the step except an init process, which would pass it on
// to a command that already has it. It returns pidfds of all except process 1; when there are too
// many to hold, all is false.
func (s *Sandbox) signalAll(sig unix.Signal) (others []int, all bool, err error) {
	pids, err := s.pids()
	if err != nil {
		return nil, false, err
	}
	all = len(pids) <= heldAtOnce
	var failed []error
	for some := range slices.Chunk(slices.Sorted(maps.Keys(pids)), heldAtOnce) {
		closeFDs(others) // there is a single round, unless there are too many
		others, err = s.signalSome(some, sig)
		failed = append(failed, err)
	}
	return others, all, errors.Join(failed...)
}

// signalSome sends sig to processes of the step and returns pidfds of all except process 1. It uses
// a pid only after a descriptor holds the process and the process has been seen in the group again:
// between the two reads the pid could have passed to a process of the host. Lower pids come first: a
// shell has the signal before the command that it waits for, whose end would otherwise end a script
// with set -e before its trap.
func (s *Sandbox) signalSome(some []int, sig unix.Signal) (others []int, err error) {
	held := map[int]int{}
	for _, pid := range some {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			held[pid] = fd
		}
	}
	pids, err := s.pids()
	failed := []error{err}
	for _, pid := range slices.Sorted(maps.Keys(held)) {
		fd := held[pid]
		if pids[pid] && (pid != s.init.Pid || !hasInit(s.process)) {
			if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				failed = append(failed, fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), pid, err))
			}
		}
		if pids[pid] && pid != s.init.Pid {
			others = append(others, fd)
		} else {
			unix.Close(fd)
		}
	}
	return others, errors.Join(failed...)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// awaitEnd waits until the process of a pidfd has ended (pidfd_open(2)).
func awaitEnd(pidfd int) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// stopSignal parses an image's StopSignal: a name with or without SIG, or a number. The default,
// also for anything invalid, is SIGTERM.
func stopSignal(name string) unix.Signal {
	name = strings.ToUpper(name)
	if number, err := strconv.Atoi(name); err == nil && number > 0 && number < 65 {
		return unix.Signal(number)
	}
	for _, name := range []string{name, "SIG" + name} {
		if sig := unix.SignalNum(name); sig != 0 {
			return sig
		}
	}
	return unix.SIGTERM
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
