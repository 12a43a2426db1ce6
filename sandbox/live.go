package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoProcess says that the process of a run cannot be found: the run has just
// ended, or it is in another container.
var ErrNoProcess = errors.New("its process cannot be seen from here")

// Live is a run whose process is alive.
type Live struct {
	ID  string
	UID int // id of the run's user
	dir string
}

// LiveIDs are the ids of the runs that ListLive lists.
func LiveIDs(root string) (map[string]bool, error) {
	live, err := ListLive(root)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(live))
	for _, l := range live {
		ids[l.ID] = true
	}
	return ids, nil
}

// ListLive lists the runs below a state root whose process is alive and therefore holds the lock of
// the run's directory.
func ListLive(root string) ([]Live, error) {
	all, err := lockRuns(root, unix.LOCK_SH)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer all.Close()
	entries, err := all.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var live []Live
	for _, entry := range entries {
		run := Live{ID: entry.Name(), dir: filepath.Join(all.Name(), entry.Name())}
		lock, err := openLocked(run.dir, unix.LOCK_SH|unix.LOCK_NB)
		switch {
		case err == nil:
			err = lock.Close() // the run is dead: its lock was free
		case errors.Is(err, os.ErrNotExist):
			err = nil
		case errors.Is(err, unix.EWOULDBLOCK):
			var st unix.Stat_t
			if err = unix.Stat(run.dir, &st); err == nil {
				run.UID = int(st.Uid)
				live = append(live, run)
			}
			err = ignoreGone(err)
		}
		if err != nil {
			return nil, err
		}
	}
	return live, nil
}

// PID returns the pid of the run's process, or ErrNoProcess. Use it for display only: another
// process may get the same pid.
func (l Live) PID() (int, error) {
	holder, err := l.holder()
	if err != nil {
		return 0, err
	}
	return outermost(holder)
}

// Signal sends signals to the run's process.
func (l Live) Signal(signals ...unix.Signal) error {
	pidfd, err := l.send(signals)
	if err != nil {
		return err
	}
	return unix.Close(pidfd)
}

// Stop sends signals to the run's process and waits until it has ended, or until ctx ends.
func (l Live) Stop(ctx context.Context, signals ...unix.Signal) error {
	pidfd, err := l.send(signals)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	polled := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if n, _ := unix.Poll(polled, 100); n > 0 { // readable: it has ended (pidfd_open(2))
			return nil
		}
	}
	return context.Cause(ctx)
}

// send sends signals to the run's process, and returns a descriptor of it.
func (l Live) send(signals []unix.Signal) (pidfd int, err error) {
	pid, err := l.PID()
	if err != nil {
		return 0, err
	}
	held, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("hold process %d: %w", pid, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(held))
		}
	}()
	// Now the descriptor holds a process. If it still is the run's, its pid was not reused in
	// between.
	if again, err := l.PID(); err != nil || again != pid {
		return 0, errors.Join(ErrNoProcess, err)
	}
	for _, sig := range signals {
		if err := unix.PidfdSendSignal(held, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), pid, err)
		}
	}
	return held, nil
}

// holder finds the process that holds the lock of the run's directory, through /proc/locks
// (proc_locks(5)). Unlike a file with a pid, that is always true, and it shows the pid in this
// process's namespace.
func (l Live) holder() (pid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(l.dir, &st); err != nil {
		return 0, errors.Join(ErrNoProcess, ignoreGone(err))
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4711 08:01:131 0 EOF
		if len(words) < 6 || words[1] != "FLOCK" || words[3] != "WRITE" {
			continue
		}
		// The device in front of the inode may differ from the one that stat(2) returns, as on
		// btrfs.
		if !strings.HasSuffix(words[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			continue
		}
		found, err := strconv.Atoi(words[4])
		if err != nil || found <= 0 {
			continue // it belongs to another process namespace
		}
		if pid != 0 && pid != found {
			return 0, fmt.Errorf("%w: processes %d and %d could both be it", ErrNoProcess, pid, found)
		}
		pid = found
	}
	if pid == 0 {
		return 0, ErrNoProcess
	}
	return pid, nil
}

// outermost returns the process to send signals to: without root, stepexec runs in a process
// namespace and takes signals only from its parent, which is stepexec too.
func outermost(pid int) (int, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0, errors.Join(ErrNoProcess, ignoreGone(err))
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	if len(strings.Fields(fields["NSpid"])) < 2 {
		return pid, nil
	}
	// In a container the parent is whatever started stepexec, which is not stepexec itself.
	own, err := os.Stat(filepath.Join(proc, "exe"))
	if err != nil {
		return 0, errors.Join(ErrNoProcess, ignoreGone(err))
	}
	parents, err := os.Stat(filepath.Join("/proc", fields["PPid"], "exe"))
	if err != nil || !os.SameFile(own, parents) {
		return pid, nil //nolint:nilerr // a parent that cannot be inspected is not a stepexec of this user
	}
	return strconv.Atoi(fields["PPid"])
}
