package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/sandbox/forkserver"
)

// forkTimeout bounds how long an answer of a fork server is waited for, which takes a millisecond. A
// program of the step may have stopped it.
const forkTimeout = 30 * time.Second

// forks is the fork server of a sandbox (see package forkserver).
//
// The server may be in the power of the step's own programs, which can end it, stop it, or start
// what they want as a child of this process. Therefore nothing that it says counts: a program that
// it starts is a child of this process, or is not taken for one, and the kernel says how it ends.
// If an answer is missing, late or malformed, the server is killed. Then a child of which nobody
// knows means that the program may have run, and is an error; without one it has not, and the
// runtime starts it.
type forks struct {
	mu     sync.Mutex                 // held while the server starts, and while it starts a program
	server atomic.Pointer[forkServer] // nil: there is none
	again  bool                       // whether a server that is lost is started once more; guarded by mu
}

// forkServer is a running fork server.
type forkServer struct {
	process *os.Process
	conn    *net.UnixConn
	timeout time.Duration // of an answer
	ended   chan struct{} // closed once the exit status of process has been collected
}

// ServeExecs starts a process in the sandbox that starts the programs of Exec, in a millisecond
// where the runtime takes thirty. It does nothing, and Exec works as before, for a sandbox in which
// the two could differ. Remove ends the process.
func (s *Sandbox) ServeExecs(ctx context.Context) error {
	if !s.canFork() {
		return nil
	}
	s.forks.mu.Lock()
	defer s.forks.mu.Unlock()
	if s.forks.server.Load() != nil {
		return nil
	}
	server, err := s.startForkServer(ctx)
	if err != nil {
		return fmt.Errorf("start the process that starts programs in the container: %w", err)
	}
	s.forks.server.Store(server)
	s.forks.again = true
	return nil
}

// liveForkServer returns the fork server. One that has ended is started once more: a program of the
// step may have killed it by mistake, or the kernel for its memory. The caller holds the lock; nil
// means that the runtime has to start programs.
func (s *Sandbox) liveForkServer(ctx context.Context) *forkServer {
	server := s.forks.server.Load()
	if server != nil && server.hasEnded() {
		_ = s.forks.end() // it has ended
		server = nil
	}
	if server != nil || !s.forks.again {
		return server
	}
	s.forks.again = false
	server, err := s.startForkServer(ctx)
	if err != nil {
		return nil // the runtime will say what is wrong, if it fails too
	}
	s.forks.server.Store(server)
	return server
}

// The server takes part of what a step may have: up to ten threads, and some megabytes. A step with
// less than this has none, and all to itself.
const (
	minForkMemory = 128 << 20 // bytes
	minForkPids   = 100
)

// canFork reports whether a program that the fork server starts has all that the runtime would give
// it. A security module may give a program of another one other rights, and a filter of the user's
// own may lack the system calls that the server needs. Strays are found only in a process namespace
// of the container's own.
func (s *Sandbox) canFork() bool {
	confined := s.process.SelinuxLabel != "" || !slices.Contains([]string{"", "unconfined"}, s.process.ApparmorProfile)
	filters := []string{"", "default", "unconfined"}
	l := s.step.Limits
	tight := l.Memory > 0 && l.Memory < minForkMemory || l.Pids > 0 && l.Pids < minForkPids
	return !tight && s.host.direct && s.hasOwnPIDs && !confined && slices.Contains(filters, s.step.Security.Seccomp)
}

func (s *Sandbox) startForkServer(ctx context.Context) (_ *forkServer, err error) {
	ctx, cancel := s.stopping.call(ctx)
	defer cancel()
	dir, err := os.MkdirTemp(s.bundle, "fork-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := s.host.initProgram() // which no container can write to
	if err != nil {
		return nil, err
	}
	program, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	process := *s.process
	process.Terminal, process.Cwd = false, "/"
	process.Args = []string{fmt.Sprintf("/proc/self/fd/%d", forkserver.Program), forkserver.Argument}
	process.Env = []string{"HOME=/", "GOMAXPROCS=1"}
	log, pidFile := filepath.Join(dir, "log"), filepath.Join(dir, "pid")
	cmd, err := s.execCommand(ctx, dir, pidFile, log, &process)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	cmd.ExtraFiles = []*os.File{forkserver.Socket - 3: theirs, forkserver.Program - 3: program}
	cmd.Args = append(cmd.Args, "--preserve-fds", strconv.Itoa(len(cmd.ExtraFiles)), s.id)
	running, err := callExec(cmd, pidFile)
	if err != nil {
		return nil, errors.Join(runtimeError("execute it", log, err), conn.Close())
	}
	_ = theirs.Close() // so that the connection ends with the process
	server := &forkServer{process: running, conn: conn, timeout: forkTimeout, ended: make(chan struct{})}
	go server.collect() // ends with the process
	if err := server.hello(); err != nil {
		return nil, errors.Join(err, server.end())
	}
	return server, nil
}

// socketPair returns two connected sockets.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	file, theirs := os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// collect collects the exit status of the process. Without that the kernel would not let the
// container's process 1 end.
func (f *forkServer) collect() {
	defer close(f.ended)
	var err error // of a process of which nothing is known but that it has ended
	defer crash.Recover(&err)
	_, err = f.process.Wait()
	offspring.forget(f.process.Pid)
}

func (f *forkServer) hasEnded() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// end kills the process.
func (f *forkServer) end() error {
	err := ignoreDone(f.process.Kill())
	<-f.ended
	return errors.Join(err, f.conn.Close())
}

// hello waits until the process takes requests.
func (f *forkServer) hello() error {
	said, pidfds, err := f.hear()
	closeFDs(pidfds)
	if err == nil && said != forkserver.Hello {
		err = errAnswer
	}
	return err
}

// errAnswer is an answer that no fork server gives.
var errAnswer = errors.New("the answer is malformed")

// hear reads one answer.
func (f *forkServer) hear() (said byte, pidfds []int, err error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(f.timeout)); err != nil {
		return 0, nil, err
	}
	answer, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := f.conn.ReadMsgUnix(answer, oob)
	if err != nil || n == 0 {
		return 0, nil, errors.Join(errSilent, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, failed := unix.ParseUnixRights(&messages[i])
		pidfds, err = append(pidfds, fds...), errors.Join(err, failed)
	}
	return answer[0], pidfds, err
}

// start asks for a program and returns a pid, of which nothing is known yet.
func (f *forkServer) start(request []byte, streams []*os.File) (pid int, err error) {
	if err := f.ask(request, streams); err != nil {
		return 0, err
	}
	said, pidfds, err := f.hear()
	defer closeFDs(pidfds)
	switch {
	case err != nil:
		return 0, err
	case said == forkserver.Refused && len(pidfds) == 0:
		return 0, errRefused
	case said == forkserver.Started && len(pidfds) == 1:
		return pidOf(pidfds[0])
	}
	return 0, errAnswer
}

// ask sends a request. The descriptors come with its first byte.
func (f *forkServer) ask(request []byte, streams []*os.File) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(f.timeout)); err != nil {
		return err
	}
	var fds []int
	for _, stream := range streams {
		fds = append(fds, int(stream.Fd()))
	}
	n, _, err := f.conn.WriteMsgUnix(request, unix.UnixRights(fds...), nil)
	if err == nil && n < len(request) {
		_, err = f.conn.Write(request[n:])
	}
	return err
}

// pidOf returns the pid of a pidfd (pidfd_open(2)), as /proc shows it.
func pidOf(pidfd int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errAnswer
}

// fork starts a program by the fork server. It returns nil when nothing was started, so that the
// runtime has to.
func (s *Sandbox) fork(ctx context.Context, process *specs.Process, o ExecOptions) (*os.Process, error) {
	s.forks.mu.Lock()
	defer s.forks.mu.Unlock()
	request := forkserver.Request{Dir: process.Cwd, Args: process.Args, Env: process.Env}
	data, ok := request.Encode()
	// For a program without HOME the runtime looks it up.
	if !ok || process.Terminal || o.User != "" || !hasHome(process.Env) {
		return nil, nil
	}
	streams := []*os.File{o.Stdin, o.Stdout, o.Stderr}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	for i, stream := range streams {
		if stream == nil {
			streams[i] = null
		}
	}
	for {
		server := s.liveForkServer(ctx)
		if server == nil {
			return nil, nil
		}
		running, err := offspring.fork(func() (pid int, err error) { return server.start(data, streams) }, s.forks.end)
		if err != nil {
			return nil, fmt.Errorf("start %s in the container: %w (has a program of the step ended or stopped the process that starts others?)", process.Args[0], err)
		}
		if running != nil || s.forks.server.Load() == server { // nil: it has refused
			return running, nil
		}
	}
}

func hasHome(env []string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "HOME=") && v != "HOME=" })
}

// end ends the server, if there is one. A program that it is starting may fail.
func (f *forks) end() error {
	server := f.server.Swap(nil)
	if server == nil {
		return nil
	}
	return server.end()
}
