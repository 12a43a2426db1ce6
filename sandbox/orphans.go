package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/network"
)

// orphanTime is the longest wait for calls of the runtime and of CNI plugins that outlive their
// run. They take milliseconds, and killing them would leave half-made containers.
const orphanTime = 10 * time.Second

// killProcesses kills the containers of a dead run and waits for programs that the run had called:
// a `runc create` continues when stepexec dies, and creates a container that must be killed as
// well.
func killProcesses(ctx context.Context, dir string) error {
	deadline := time.Now().Add(orphanTime)
	for {
		if err := killCgroups(ctx, dir); err != nil {
			return err
		}
		left, err := orphans(dir)
		if err != nil || len(left) == 0 {
			return err
		}
		late := time.Now().After(deadline)
		for _, pidfd := range left {
			if late {
				err = errors.Join(err, unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0))
			}
			// Wait only briefly: the orphan itself may wait for a process in a group that has
			// appeared since the last check.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 50)
		}
		closeFDs(left)
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("wait for what the run was calling: %w", err)
		}
	}
}

// orphans returns pidfds of the processes that still work for a dead run: calls of the runtime,
// which name the folder of its state, and CNI plugins, which have the run's name in their
// environment.
func orphans(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !worksFor(pid, dir) {
			continue
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has just ended
		}
		if !worksFor(pid, dir) { // the pid now belongs to another process
			unix.Close(pidfd)
			continue
		}
		found = append(found, pidfd)
	}
	return found, nil
}

// worksFor only considers processes of this user. Otherwise anybody could give a program the words
// that it looks for, to make stepexec wait for it, or kill it as root.
func worksFor(pid int, dir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	var st unix.Stat_t
	if unix.Stat(proc, &st) != nil || int(st.Uid) != os.Geteuid() {
		return false
	}
	return hasWord(filepath.Join(proc, "cmdline"), runtimeRoot(dir)) ||
		hasWord(filepath.Join(proc, "environ"), "CNI_CONTAINERID="+network.PluginContainer(filepath.Base(dir)))
}

// hasWord looks for a word in a file of words that end in a zero byte. The file of a process that
// has ended is empty.
func hasWord(file, word string) bool {
	data, err := os.ReadFile(file)
	return err == nil && bytes.Contains(append([]byte{0}, data...), []byte("\x00"+word+"\x00"))
}
