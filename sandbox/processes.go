package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// pids returns the step's current processes: those of its group or, without a group of its own,
// those of its process namespace. If it shares that namespace with others, it returns only the main
// process.
func (s *Sandbox) pids() (map[int]bool, error) {
	switch {
	case s.cgroup.dir != "":
		return s.cgroup.pids()
	case joined(s.step, specs.PIDNamespace) != "":
		return map[int]bool{s.init.Pid: true}, nil
	}
	return sameNamespace(s.init.Pid)
}

// sameNamespace returns the processes in the process namespace of pid. It returns none when pid has
// ended, because then the namespace has no processes.
func sameNamespace(pid int) (map[int]bool, error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if hasEnded(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the step's processes: %w", err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, dir := range all {
		// Processes that cannot be inspected are not the step's, since all of the step's can.
		namespace, err := os.Readlink(filepath.Join(dir, "ns/pid"))
		if err != nil || namespace != own {
			continue
		}
		other, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		pids[other] = true
	}
	return pids, nil
}

// hasEnded recognises the kernel's errors for a process that no longer exists.
func hasEnded(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
}
