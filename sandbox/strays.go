package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// children knows which processes in containers this process waits for. It becomes the parent of
// everything that a call of the runtime leaves (PR_SET_CHILD_SUBREAPER): of the program that the
// call started, and after a failure possibly of a stray, a half-made process that the runtime no
// longer knew. runc leaves one when a step ends while `runc exec` enters it.
//
// A stray must be collected: the kernel lets process 1 of a namespace end only once the parents of
// all others have collected their exit status (pid_namespaces(7)), so the step would never end.
type children struct {
	mu      sync.Mutex
	calls   map[string]bool // pid files of calls that may still start a process
	forks   int             // programs that fork servers are starting
	adopted map[int]bool
	isLeft  bool // a stray may be left of calls that have failed
}

// offspring is a variable of the package because the kernel, too, has one list of children per
// process: two hosts must not take each other's for strays.
var offspring = children{calls: map[string]bool{}, adopted: map[int]bool{}}

// begin must be called before a call of the runtime that writes a pid file. adopt or fail ends it.
func (c *children) begin(pidFile string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[pidFile] = true
}

// adopt returns the process that the call has started. Whoever waits for it must then call forget.
func (c *children) adopt(pidFile string) (*os.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := runc.ReadPidFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("read the pid of the program: %w", err)
	}
	process, err := c.hold(pid)
	if err == nil {
		delete(c.calls, pidFile)
	}
	return process, err
}

// What a fork server did not say, so that it is not known whether it has started the program.
var (
	errRefused = errors.New("the program cannot be executed") // it has not
	errSilent  = errors.New("no answer")                      // it has ended, or hangs
)

// fork returns the program that a fork server starts in start, whoever waits for which must call
// forget. It returns nil if nothing was started. After any failure but errRefused it ends the server
// by end. Then a child that nobody knows may be the program. If the server has only been killed, as
// the program itself can do before the server says that it runs, that child is taken for it, since
// nothing else can have left one. In all other cases it is an error.
func (c *children) fork(start func() (pid int, err error), end func() error) (*os.Process, error) {
	wasClear := c.beginFork()
	pid, err := start()
	var running *os.Process
	if err == nil {
		running, err = c.adoptFork(pid)
	}
	var endErr error
	if err != nil && !errors.Is(err, errRefused) {
		endErr = end()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forks--
	switch {
	case err == nil:
		return running, nil
	case errors.Is(err, errSilent) && endErr == nil && wasClear && c.isClear():
		if all, strayErr := c.strays(); strayErr == nil && len(all) == 1 {
			return c.hold(all[0])
		}
	}
	left, strayErr := c.collectStrays() // a refused program leaves the process that could not execute it
	if errors.Is(err, errRefused) || left == 0 && endErr == nil {
		return nil, strayErr
	}
	return nil, errors.Join(err, endErr, strayErr)
}

// beginFork reports whether nothing but the fork that begins can leave a stray.
func (c *children) beginFork() (isClear bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	isClear = c.isClear()
	c.forks++
	return isClear
}

func (c *children) isClear() bool { return !c.isLeft && c.forks == 0 && len(c.calls) == 0 }

// adoptFork makes sure that a process is a child in a process namespace of its own container, for
// which nobody waits yet.
func (c *children) adoptFork(pid int) (*os.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parent, numbers, err := lineage(strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	if parent != os.Getpid() || len(numbers) < 2 || c.adopted[pid] {
		return nil, fmt.Errorf("process %d is not what was started", pid)
	}
	return c.hold(pid)
}

// hold adopts a child. The caller holds the lock.
func (c *children) hold(pid int) (*os.Process, error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("hold the program's process: %w", err)
	}
	c.adopted[pid] = true
	return process, nil
}

// forget must be called once the exit status of an adopted process has been collected.
func (c *children) forget(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.adopted, pid)
}

// fail ends a call that has failed, and kills and collects strays.
func (c *children) fail(pidFile string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, pidFile)
	_, err := c.collectStrays()
	return err
}

// collectUntil returns once a step has ended, which it reports, or once or is closed; nil: never.
// Now and then it looks for strays that were too slow to die when the call failed: of a step that
// has been killed always, otherwise if there may be any.
func (c *children) collectUntil(ended, or <-chan struct{}, killed bool) (hasEnded bool) {
	for {
		select {
		case <-ended:
			return true
		case <-or:
			return false
		case <-time.After(time.Second):
			c.collectLeft(killed)
		}
	}
}

func (c *children) collectLeft(always bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isLeft || always {
		_, _ = c.collectStrays() // it is tried again
	}
}

// collectStrays kills and collects strays, and returns how many it has found. As long as a fork
// server starts a program, which is not known yet, no child can be told from a stray: then it finds
// unknown. The caller holds the lock.
func (c *children) collectStrays() (found int, err error) {
	c.isLeft = true // until nothing is found: a stray may be slow to die, or have children
	if c.forks > 0 {
		return unknown, nil
	}
	strays, err := c.strays()
	if err != nil {
		return unknown, fmt.Errorf("find processes that the runtime has left: %w", err)
	}
	c.isLeft = len(strays) > 0
	for _, pid := range strays {
		if err := killStray(pid); err != nil {
			return len(strays), fmt.Errorf("end process %d, which the runtime has left: %w", pid, err)
		}
	}
	return len(strays), nil
}

// unknown is a number of strays that cannot be told.
const unknown = -1

// strays returns the children that are in a process namespace below this one and that nobody waits
// for. It leaves out the first process of a namespace: it keeps nothing from ending, and programs
// such as pasta make themselves one.
func (c *children) strays() ([]int, error) {
	_, own, err := lineage("self")
	if err != nil {
		return nil, err
	}
	expected := map[int]bool{}
	for file := range c.calls {
		if pid, err := runc.ReadPidFile(file); err == nil { // otherwise it has started none
			expected[pid] = true
		}
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		parent, numbers, err := lineage(strconv.Itoa(pid))
		if err != nil || parent != os.Getpid() || len(numbers) <= len(own) || numbers[len(numbers)-1] == "1" {
			continue // an error: it has ended, and this process's children stay until they are collected
		}
		if !c.adopted[pid] && !expected[pid] {
			found = append(found, pid)
		}
	}
	return found, nil
}

// lineage returns the parent of a process and its numbers in all process namespaces that it is in,
// from this one to its own (proc_pid_status(5), PPid and NSpid).
func lineage(process string) (parent int, numbers []string, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return 0, nil, err
	}
	for line := range bytes.Lines(data) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "PPid":
			if parent, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, fmt.Errorf("read the parent of process %s: %w", process, err)
			}
		case "NSpid":
			for _, number := range bytes.Fields(value) {
				numbers = append(numbers, string(number))
			}
		}
	}
	return parent, numbers, nil
}

// killStray kills and collects a child. Until then the pid cannot belong to another process.
func killStray(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	const milliseconds = 1000 // of a process that is being killed; the next call tries again
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, milliseconds)
	_, err = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	if errors.Is(err, unix.ECHILD) {
		return nil
	}
	return err
}
