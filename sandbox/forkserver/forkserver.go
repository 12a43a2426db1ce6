// Package forkserver is a process in a container that executes programs there when stepexec asks
// for it, in place of the runtime's `runc exec`, which takes 30 ms to enter a container anew.
//
// The runtime puts the process into the container as it does any other program, with the user,
// capabilities, limits, system call filter, cgroup and namespaces of the step. What the process
// forks inherits all of that, so a program gets what the runtime would give it. And with
// CLONE_PARENT (clone(2)) the program becomes a sibling of this process, which is a child of
// stepexec: stepexec itself waits for it, and takes nobody's word for how it ended.
//
// The process is in the power of what runs in the container as the same user, as every program of
// the step is: what is there can end it, stop it or change its limits. It cannot read its memory,
// its descriptors or its program, which need CAP_SYS_PTRACE (see PR_SET_DUMPABLE, prctl(2)).
//
// The process is stepexec's own program. It never reaches main: all of it happens while this
// package is initialised. Importing the package is all that it takes; see also package childinit.
package forkserver

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Argument is the only argument of the process, and Socket its end of a connection (a stream of
// unix(7)) to stepexec. Program is a descriptor of the program, by which the process is executed.
const (
	Argument = "stepexec-fork-server"
	Socket   = 3
	Program  = 4
)

// What the process says. It says Hello once, and one of the others for each request.
const (
	Hello   = 'h'
	Started = 's' // comes with a pidfd of the program (pidfd_open(2))
	Refused = 'r' // nothing was started: the runtime may be able to, or say why it is not
)

// Streams is the number of descriptors that come with the first byte of a request: those of the
// program's standard input, output and error.
const Streams = 3

func init() {
	if len(os.Args) != 2 || os.Args[1] != Argument {
		return
	}
	if _, err := syscall.GetsockoptInt(Socket, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil {
		return // somebody has called it by hand, and gets an error for it
	}
	_ = serve() // stepexec is gone
	os.Exit(0)
}

// serve answers requests until the connection ends.
func serve() error {
	const setDumpable = 4 // PR_SET_DUMPABLE
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setDumpable, 0, 0); errno != 0 {
		return errno
	}
	syscall.CloseOnExec(Socket)
	_ = syscall.Close(Program)
	// A program may ask all others to end. Signals are caught and not ignored, which programs would
	// inherit.
	signal.Notify(make(chan os.Signal, 1))
	if err := say(Hello); err != nil {
		return err
	}
	for {
		request, streams, err := receive()
		if err != nil {
			return err
		}
		err = answer(&request, streams)
		for _, fd := range streams {
			_ = syscall.Close(fd)
		}
		if err != nil {
			return err
		}
	}
}

// say sends an answer.
func say(what byte, descriptors ...int) error {
	var oob []byte
	if len(descriptors) > 0 {
		oob = syscall.UnixRights(descriptors...)
	}
	for {
		if err := syscall.Sendmsg(Socket, []byte{what}, oob, nil, syscall.MSG_NOSIGNAL); err != syscall.EINTR {
			return err
		}
	}
}

// receive reads a request.
func receive() (r Request, streams []int, err error) {
	head, oob := make([]byte, wordSize), make([]byte, syscall.CmsgSpace(4*Streams))
	var n, oobn int
	for {
		if n, oobn, _, _, err = syscall.Recvmsg(Socket, head, oob, syscall.MSG_CMSG_CLOEXEC); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return r, nil, err
	}
	if n == 0 {
		return r, nil, io.EOF
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return r, nil, err
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return r, nil, err
		}
		streams = append(streams, fds...)
	}
	if len(streams) != Streams {
		return r, nil, errRequest
	}
	if _, err := io.ReadFull(socket{}, head[n:]); err != nil {
		return r, nil, err
	}
	size, _, ok := cutNumber(head)
	if !ok {
		return r, nil, errRequest
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(socket{}, body); err != nil {
		return r, nil, err
	}
	r, err = parse(body)
	return r, streams, err
}

// socket reads the connection.
type socket struct{}

func (socket) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(Socket, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// answer starts the program of a request, and says what came of it.
func answer(r *Request, streams []int) error {
	path, ok := find(r)
	if !ok {
		return say(Refused)
	}
	pidfd := -1
	attributes := &syscall.ProcAttr{Dir: r.Dir, Env: r.Env, Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_PARENT, PidFD: &pidfd}}
	for _, fd := range streams {
		attributes.Files = append(attributes.Files, uintptr(fd))
	}
	if _, err := syscall.ForkExec(path, r.Args, attributes); err != nil {
		return say(Refused)
	}
	if pidfd < 0 {
		return errors.New("this kernel has no pidfds") // stepexec takes the end for a failure
	}
	defer syscall.Close(pidfd)
	return say(Started, pidfd)
}

// find looks a program up in the PATH of its own environment, as runtimes do. It leaves to them
// what they judge differently: a program in a directory that is not absolute.
func find(r *Request) (path string, ok bool) {
	command, list := r.Args[0], r.variable("PATH")
	if index(command, '/') >= 0 {
		return command, true
	}
	for more := list != ""; more; {
		dir := list
		at := index(list, ':')
		if more = at >= 0; more {
			dir, list = list[:at], list[at+1:]
		}
		isAbsolute := dir != "" && dir[0] == '/'
		if !isAbsolute {
			dir = r.Dir + "/" + dir
		}
		path := dir + "/" + command
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, isAbsolute
		}
	}
	return "", false
}
