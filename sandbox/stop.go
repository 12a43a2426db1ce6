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
)

// Stopping says how a step is ended when its context is.
type Stopping struct {
	Grace time.Duration   // from the stop signal to the kill
	Now   <-chan struct{} // closed: kill at once, without the rest of the grace
}

// stop sends the stop signal. The returned channel is closed once there is
// nothing more to wait for before the kill; it is nil when the step may use
// the whole of its grace.
//
// The command is process 1 of its namespace. The kernel keeps signals from
// process 1 that it has no handler for, which would end any other process: a
// shell that waits for its child, or a plain sleep, would sit out the grace. So
// such a deaf command's other processes get the signal, and when they have
// ended the command is killed. A script's processes get it in any case, as
// from a terminal's Ctrl-C.
func (s *Sandbox) stop() (over <-chan struct{}, err error) {
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
	ended := make(chan struct{})
	go func() { // it ends with the processes, at the latest when the kill ends them all
		defer close(ended)
		for _, pidfd := range others {
			awaitEnd(pidfd)
			unix.Close(pidfd)
		}
	}()
	return ended, err
}

// isDeaf reports whether a process neither handles nor ignores a signal, as
// proc_pid_status(5) says. A process that has ended is not.
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

// heldAtOnce is how many processes of a step are held by descriptors: a step
// may have thousands, and other steps need descriptors too.
const heldAtOnce = 256

// signalAll sends sig to every process of the step. It returns pidfds of all
// but process 1, or, when there are too many to be held, all is false.
func (s *Sandbox) signalAll(sig unix.Signal) (others []int, all bool, err error) {
	pids, err := s.pids()
	if err != nil {
		return nil, false, err
	}
	all = len(pids) <= heldAtOnce
	var failed []error
	for some := range slices.Chunk(slices.Collect(maps.Keys(pids)), heldAtOnce) {
		closeFDs(others) // there is one round, unless there are too many
		others, err = s.signalSome(some, sig)
		failed = append(failed, err)
	}
	return others, all, errors.Join(failed...)
}

// signalSome sends sig to processes of the step and returns pidfds of all but
// process 1. A pid is used only after a descriptor holds it and it is seen in
// the group again: between the two reads it could have passed on to a process
// of the host.
func (s *Sandbox) signalSome(some []int, sig unix.Signal) (others []int, err error) {
	held := map[int]int{}
	for _, pid := range some {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			held[pid] = fd
		}
	}
	pids, err := s.pids()
	failed := []error{err}
	for pid, fd := range held {
		if pids[pid] {
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

// stopSignal reads an image's StopSignal: a name with or without SIG, or a
// number. SIGTERM is the default, also for what is no signal.
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
