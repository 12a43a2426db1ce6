package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stage is the environment variable that tells the child how far it has got: "waiting:UID" or
// "inside:UID", where UID is the user's id on the host.
const stage = "_STEPEXEC_ROOTLESS"

// control is the descriptor of the pipe from parent to child. The first byte says that the ids are
// mapped; every other byte is the number of a signal.
const control = 3

// Needed reports whether this process is not root and must therefore call Run for anything that
// needs privileges.
func Needed() bool { return os.Geteuid() != 0 }

// Run runs this program again with the same arguments, as root of a user namespace, and waits for
// it. It passes on SIGINT, SIGTERM and SIGHUP. It returns the child's exit code (128 plus the
// signal's number if a signal killed it), or an error that says what this machine or user lacks for
// such a namespace.
func Run() (code int, err error) {
	if err := CheckKernel(); err != nil {
		return 0, err
	}
	who, err := findUser()
	if err != nil {
		return 0, err
	}
	// The kernel kills the child when the thread that created it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)

	child, pipe, err := start(who.uid)
	if err != nil {
		return 0, err
	}
	defer pipe.Close()
	if err := errors.Join(who.mapIDs(child.Process.Pid), tell(pipe, 0)); err != nil {
		_ = child.Process.Kill() // it cannot have ended: it waits for the pipe
		_ = child.Wait()         // always reports that the child was killed
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case err := <-ended:
			return exitCode(child.ProcessState, err)
		case sig := <-signals:
			_ = tell(pipe, byte(sig.(syscall.Signal))) // if the child has just ended, nobody needs the signal
		}
	}
}

// start starts the child, which waits in its namespaces until its ids are mapped.
func start(uid int) (*exec.Cmd, *os.File, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	child := exec.Command("/proc/self/exe")
	child.Args = os.Args
	child.Env = append(os.Environ(), fmt.Sprintf("%s=waiting:%d", stage, uid))
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{in}
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := child.Start(); err != nil {
		return nil, nil, errors.Join(refused(err), out.Close())
	}
	return child, out, nil
}

func tell(pipe *os.File, message byte) error {
	_, err := pipe.Write([]byte{message})
	return err
}

func exitCode(state *os.ProcessState, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("wait for stepexec in its user namespace: %w", err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}
