package sandbox

import (
	"os"
	"syscall"
	"time"
)

// Exit is how a step's main process ended.
type Exit struct {
	Code   int            // 0 to 255; 128+n when signal n ended it
	Signal syscall.Signal // 0 when it exited by itself
	OOM    bool           // the kernel killed a process of the step for want of memory

	User, System time.Duration // CPU time of the main process and the children it waited for
}

func exitOf(state *os.ProcessState) Exit {
	exit := Exit{User: state.UserTime(), System: state.SystemTime()}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		exit.Signal = status.Signal()
		exit.Code = 128 + int(exit.Signal)
		return exit
	}
	exit.Code = state.ExitCode()
	return exit
}
