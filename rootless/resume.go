package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Resume continues in the child where Run stopped in the parent; in any other process it does
// nothing. Call it first in main. An error says what this machine does not allow the user.
func Resume() error {
	step, _, _ := strings.Cut(os.Getenv(stage), ":")
	switch step {
	case "waiting":
		return enter()
	case "inside":
		return settle()
	}
	return nil
}

// Inside reports whether this process is a child of Run, and returns the user's id on the host.
func Inside() (uid int, ok bool) {
	step, id, _ := strings.Cut(os.Getenv(stage), ":")
	uid, err := strconv.Atoi(id)
	return uid, step == "inside" && err == nil
}

// Notify is signal.Notify for SIGINT, SIGTERM and SIGHUP, and stop is signal.Stop. In a child of
// Run the signals come only from the parent: a terminal sends its Ctrl-C to both processes, which
// must not count as two.
func Notify(c chan<- os.Signal) (stop func()) {
	ending := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}
	if _, ok := Inside(); !ok {
		signal.Notify(c, ending...)
		return func() { signal.Stop(c) }
	}
	// The signals are caught rather than ignored, because steps would inherit ignored signals.
	signal.Notify(make(chan os.Signal, 1), ending...)
	r := &relay{to: c}
	go r.run() // ends with the parent, and so with the process
	return r.stop
}

// relay passes on the signals that the parent reports.
type relay struct {
	mu sync.Mutex
	to chan<- os.Signal // nil once stopped
}

func (r *relay) run() {
	pipe := os.NewFile(control, "signals")
	message := make([]byte, 1)
	for {
		if _, err := pipe.Read(message); err != nil {
			return // the parent is dead, and the signal that kills this process is on its way
		}
		r.mu.Lock()
		select {
		case r.to <- syscall.Signal(message[0]):
		default: // like signal.Notify, it does not wait for a slow reader
		}
		r.mu.Unlock()
	}
}

func (r *relay) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = nil
}

// enter waits until the parent has mapped the ids and then executes the program again: only execve
// gives a process the capabilities of its new id 0.
func enter() error {
	if _, err := unix.Read(control, make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the ids of the user namespace: %w", err)
	}
	if os.Geteuid() != 0 {
		os.Exit(1) // the parent is dead, or reports what was wrong
	}
	env := os.Environ()
	for i, variable := range env {
		env[i] = strings.Replace(variable, stage+"=waiting:", stage+"=inside:", 1)
	}
	return fmt.Errorf("execute %s: %w", os.Args[0], unix.Exec("/proc/self/exe", os.Args, env))
}

// settle turns the child's surroundings into those that root expects.
func settle() error {
	unix.CloseOnExec(control)
	// The execution that granted the capabilities has cleared the death signal set at the start.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the parent: %w", err)
	}
	parent := []unix.PollFd{{Fd: control}}
	if _, err := unix.Poll(parent, 0); err != nil && !errors.Is(err, unix.EINTR) || parent[0].Revents&unix.POLLHUP != 0 {
		return fmt.Errorf("the process that has started this one is dead: %w", errors.Join(err))
	}
	// /proc still shows the processes of the host, and none of this namespace under its own number.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc in a user namespace: %w", refused(err))
	}
	return nil
}
