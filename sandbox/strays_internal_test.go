package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A step cannot end while a stray is left in its namespace, and nobody may ever stop it.
func TestAStrayThatIsSlowToDieIsCollectedWhileItsStepRuns(t *testing.T) {
	first := exec.Command("sleep", "1000") // process 1 of a namespace
	first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = first.Process.Kill(), first.Wait() }()
	stray, err := startIn(first.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(stray, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	ended, tooLong := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		awaitEnd(pidfd)
	}()
	time.AfterFunc(time.Minute, func() { close(tooLong) })

	offspring.mu.Lock()
	offspring.isLeft = true // as after a call that has failed
	offspring.mu.Unlock()
	if !offspring.collectUntil(ended, tooLong, false) {
		_ = unix.Kill(stray, unix.SIGKILL)
		<-ended
		t.Error("the stray lives")
	}
}

// startIn starts a program in the process namespace of another process.
func startIn(pid int) (started int, err error) {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return 0, err
	}
	defer namespace.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // it ends with the goroutine: its children would be in the namespace
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWPID); err != nil {
			return
		}
		var process *os.Process
		if process, err = os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{}); err == nil {
			started = process.Pid
			err = process.Release()
		}
	}()
	<-done
	return started, err
}
