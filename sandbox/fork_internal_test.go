package sandbox

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/forkserver"
)

// liar is a fork server that says what say sends, once it has been asked.
func liar(t *testing.T, say func(*net.UnixConn) error) *forkServer {
	t.Helper()
	ours, file, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("sleep", "1000")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	f := &forkServer{process: process.Process, conn: ours, timeout: time.Minute, ended: make(chan struct{})}
	go f.collect()
	go func() { // ends with the answer or the connection
		_, _ = theirs.Read(make([]byte, 1<<16))
		if err := say(theirs.(*net.UnixConn)); err != nil {
			t.Error(err)
		}
	}()
	return f
}

// answerWith sends an answer with descriptors of processes.
func answerWith(what byte, pids ...int) func(*net.UnixConn) error {
	return func(conn *net.UnixConn) error {
		var pidfds []int
		defer func() { closeFDs(pidfds) }()
		for _, pid := range pids {
			pidfd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			pidfds = append(pidfds, pidfd)
		}
		_, _, err := conn.WriteMsgUnix([]byte{what}, unix.UnixRights(pidfds...), nil)
		return err
	}
}

func TestNoAnswerOfAForkServerIsTakenForAProgramThatRan(t *testing.T) {
	child := exec.Command("sleep", "1000") // in this process namespace
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = child.Process.Kill(), child.Wait() }()
	notPidfd := func(conn *net.UnixConn) error {
		_, _, err := conn.WriteMsgUnix([]byte{forkserver.Started}, unix.UnixRights(int(os.Stderr.Fd())), nil)
		return err
	}
	hangUp := func(conn *net.UnixConn) error { return conn.Close() }
	for name, say := range map[string]func(*net.UnixConn) error{
		"none":                  hangUp,
		"late":                  func(*net.UnixConn) error { return nil },
		"unknown":               answerWith('x'),
		"started, but what":     answerWith(forkserver.Started),
		"more than one":         answerWith(forkserver.Started, os.Getpid(), child.Process.Pid),
		"stepexec itself":       answerWith(forkserver.Started, os.Getpid()),
		"a process of others":   answerWith(forkserver.Started, 1),
		"another child":         answerWith(forkserver.Started, child.Process.Pid),
		"no process":            notPidfd,
		"hello":                 answerWith(forkserver.Hello),
		"refused, with another": answerWith(forkserver.Refused, os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			server := liar(t, say)
			if name == "late" {
				server.timeout = 10 * time.Millisecond
			}
			var all forks
			all.server.Store(server)
			running, err := offspring.fork(func() (int, error) { return server.start([]byte("request"), []*os.File{os.Stderr}) }, all.end)
			if running != nil || err != nil {
				t.Errorf("got %v, %v; want that nothing was started", running, err)
			}
			if all.server.Load() != nil {
				t.Error("the server is still asked")
			}
			select {
			case <-server.ended:
			case <-time.After(time.Minute):
				t.Error("after a minute the server lives")
			}
		})
	}
}

func TestAnAdoptedProcessIsNoOtherProgram(t *testing.T) {
	first := exec.Command("sleep", "1000") // process 1 of a namespace
	first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = first.Process.Kill(), first.Wait() }()
	pid, err := startIn(first.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := offspring.fork(func() (int, error) { return pid, nil }, func() error { return nil })
	if err != nil || taken == nil || taken.Pid != pid {
		t.Fatalf("got %v, %v", taken, err)
	}
	again, err := offspring.fork(func() (int, error) { return pid, nil }, func() error { return nil })
	if again != nil || err != nil {
		t.Errorf("got %v, %v; want that nothing was started", again, err)
	}
	killLeader(taken)
	if _, err := taken.Wait(); err != nil {
		t.Error(err)
	}
	offspring.forget(pid)
}

// The server has started a program, but does not say so.
func TestAProgramThatAForkServerHides(t *testing.T) {
	for _, test := range []struct {
		name    string
		err     error
		isTaken bool // for the program
	}{
		{"killed by the program", errSilent, true},
		{"lies", errAnswer, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			first := exec.Command("sleep", "1000") // process 1 of a namespace
			first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = first.Process.Kill(), first.Wait() }()
			var hidden int
			running, err := offspring.fork(func() (_ int, err error) {
				if hidden, err = startIn(first.Process.Pid); err != nil {
					return 0, err
				}
				return 0, test.err
			}, func() error { return nil })
			if !test.isTaken {
				if running != nil || !errors.Is(err, test.err) {
					t.Errorf("got %v, %v", running, err)
				}
				if err := unix.Kill(hidden, 0); !errors.Is(err, unix.ESRCH) {
					t.Errorf("the program lives: %v", err)
				}
				return
			}
			if err != nil || running == nil || running.Pid != hidden {
				t.Fatalf("got %v, %v", running, err)
			}
			_ = running.Kill()
			if _, err := running.Wait(); err != nil {
				t.Error(err)
			}
			offspring.forget(hidden)
		})
	}
}
