// Package childinit is the first process of a container that asks for an init process: it starts
// the command, passes signals on to it, collects the exit status of every orphan, and ends as the
// command did.
//
// The init process is the program of stepexec itself, under the name that Path says. It never
// reaches main: all of it happens while this package is initialised, before any other package of
// the program that does more. Importing the package is all that it takes; see also package guardwait.
package childinit

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// Path is the init process's program in the container, and its first argument.
const Path = "/run/stepexec/init"

// Unexecuted is the kernel's name (PR_SET_NAME) of an init process that could not execute the
// command and has ended with the exit code of a shell, 126 or 127.
const Unexecuted = "init-no-command"

const (
	notExecutable = 126
	notFound      = 127
)

func init() {
	if len(os.Args) < 2 || os.Args[0] != Path {
		return
	}
	os.Exit(run(os.Args[1:]))
}

// run runs on the process's first thread, as all initialisation does.
func run(command []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, forwarded()...)
	adopt()
	pid, err := start(command)
	if err != nil {
		name := append([]byte(Unexecuted), 0)
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0)
		if err == syscall.ENOENT || err == syscall.ENOTDIR {
			return notFound
		}
		return notExecutable
	}
	go func() {
		for s := range signals { // it ends with the process
			_ = syscall.Kill(pid, s.(syscall.Signal)) // ESRCH: the command has ended, and so will this process
		}
	}()
	return reap(pid)
}

// adopt makes this process the parent of orphans also where it is not process 1, as in a process
// namespace that the container shares.
func adopt() {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
}

// forwarded are the signals that somebody sends on purpose. The others tell of a fault of this
// process, of its children or of its terminal, or are the Go runtime's own.
func forwarded() (all []os.Signal) {
	for s := syscall.Signal(1); s < 65; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF,
			syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
			syscall.SIGTTIN, syscall.SIGTTOU, 32, 33, 34: // 32 to 34 are those of C libraries
		default:
			all = append(all, s)
		}
	}
	return all
}

// start executes the command in a process group of its own, which has the terminal, if there is
// one: what is typed as a signal must reach it once only.
func start(command []string) (pid int, err error) {
	attributes := &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: isTerminal(0)},
	}
	path, err := find(command[0])
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, command, attributes)
}

func isTerminal(fd uintptr) bool {
	var settings syscall.Termios
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TCGETS, uintptr(unsafe.Pointer(&settings)))
	return errno == 0
}

// find looks a command up in PATH as execvp(3) does.
func find(command string) (path string, err error) {
	for _, c := range command {
		if c == '/' {
			return command, nil
		}
	}
	const executable = 1 // X_OK
	err = syscall.ENOENT
	dir, rest := "", os.Getenv("PATH")
	for more := true; more; {
		dir, rest, more = cut(rest)
		path := dir + "/" + command
		if dir == "" {
			path = "./" + command
		}
		info, failed := os.Stat(path)
		switch {
		case failed != nil || info.IsDir():
		case syscall.Access(path, executable) != nil:
			err = syscall.EACCES
		default:
			return path, nil
		}
	}
	return "", err
}

// cut splits a list of directories at its first colon.
func cut(list string) (first, rest string, more bool) {
	for i := range len(list) {
		if list[i] == ':' {
			return list[:i], list[i+1:], true
		}
	}
	return list, "", false
}

// reap collects the status of every child until the command ends, and returns its exit code.
func reap(command int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR || pid != command:
		case status.Signaled():
			return 128 + int(status.Signal())
		case status.Exited():
			return status.ExitStatus()
		}
		if err == syscall.ECHILD {
			return notExecutable // the kernel has lost the command: cannot happen
		}
	}
}
