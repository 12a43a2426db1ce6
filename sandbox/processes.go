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

// pids are the step's processes, as they are at this moment: those of its
// group, or, without one of its own, those of its process namespace. Of a
// namespace that it shares with others it is the main process alone.
func (s *Sandbox) pids() (map[int]bool, error) {
	switch {
	case s.cgroup.dir != "":
		return s.cgroup.pids()
	case joined(s.step, specs.PIDNamespace) != "":
		return map[int]bool{s.init.Pid: true}, nil
	}
	return sameNamespace(s.init.Pid)
}

// sameNamespace are the processes whose process namespace is that of pid; none
// when pid has ended, for then the namespace has none.
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
		// Processes that cannot be looked at are not the step's: those all can.
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

// hasEnded recognises what the kernel says of a process that is not there.
func hasEnded(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
}
