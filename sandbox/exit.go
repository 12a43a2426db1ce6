package sandbox

import (
	"os"
	"syscall"
)

// Exit describes how a step's main process ended.
type Exit struct {
	Code   int            // 0 to 255; 128+n when signal n ended it
	Signal syscall.Signal // 0 when it exited by itself

	// OOM says that the kernel killed a process of the step because memory ran out, and OutOfMemory
	// says why. It may not have been the main process: if that one continued and succeeded, Code is
	// 0.
	OOM         bool
	OutOfMemory OutOfMemory

	Usage Usage
}

func exitOf(state *os.ProcessState) Exit {
	exit := Exit{Code: state.ExitCode(), Usage: usageOf(state)}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		exit.Signal = status.Signal()
		exit.Code = 128 + int(exit.Signal)
	}
	return exit
}

// addCgroup adds the counters of the step's cgroup.
func (e *Exit) addCgroup(group cgroup) error {
	if err := group.addUsage(&e.Usage); err != nil {
		return err
	}
	if e.OOM = e.Usage.OOMKills > 0; !e.OOM {
		return nil
	}
	var err error
	e.OutOfMemory, err = group.outOfMemory()
	return err
}

// addKills notes whether the kernel has killed processes for lack of memory since the counter was
// at before.
func (e *Exit) addKills(group cgroup, before int64) error {
	kills := group.oomKills() - before
	if kills <= 0 {
		return nil
	}
	var err error
	e.OOM, e.Usage.OOMKills = true, kills
	e.OutOfMemory, err = group.outOfMemory()
	e.OutOfMemory.Kills = kills
	return err
}
