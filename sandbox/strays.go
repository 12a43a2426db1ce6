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
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("hold the program's process: %w", err)
	}
	delete(c.calls, pidFile)
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
	c.isLeft = true // until nothing is found: it may be slow to die, or have children
	return c.collectStrays()
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
		_ = c.collectStrays() // it is tried again
	}
}

// collectStrays kills and collects strays. The caller holds the lock.
func (c *children) collectStrays() error {
	strays, err := c.strays()
	if err != nil {
		return fmt.Errorf("find processes that the runtime has left: %w", err)
	}
	c.isLeft = len(strays) > 0
	for _, pid := range strays {
		if err := killStray(pid); err != nil {
			return fmt.Errorf("end process %d, which the runtime has left: %w", pid, err)
		}
	}
	return nil
}

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
