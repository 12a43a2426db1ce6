package pull

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// streamGrace is how long the end of a program's output is waited for once the program has ended:
// other processes that it has started may hold its streams open.
const streamGrace = time.Second

// runGroup runs a program in a process group of its own. When the command's context ends, the whole
// group is killed: a helper is often a shell script, whose children would outlive it.
func runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = streamGrace
	return cmd.Run()
}
