package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// A call of the runtime takes some 4 ms, most of which is the start of its program. What runc
// does to start a container and to delete it is little, so that stepexec does both by itself where
// runc keeps a container's state as it does since version 1.0:
//
//   - ROOT/ID/exec.fifo: the init process waits for a reader of it, writes one byte, and closes it
//     by executing the command. Then the file goes.
//   - ROOT/ID/state.json: which cgroups are the container's. They and the folder are all that is
//     left once its processes are dead.
//
// Everything else is the runtime's own: other runtimes and versions, containers with hooks, which
// runtimes call when they start and delete, cgroups that systemd makes, process namespaces and
// cgroups that are not the container's alone, and state that other programs look at.

const (
	execFifo  = "exec.fifo"
	stateFile = "state.json"
)

// isDirect reports whether stepexec starts and deletes a container that has just been created.
func (s *Sandbox) isDirect(h *Host, spec *specs.Spec) bool {
	if !h.direct || spec.Hooks != nil || s.runtime.SystemdCgroup || !hasOwnProcesses(spec) {
		return false
	}
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(s.stateDir(), execFifo), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// hasOwnProcesses reports whether a container has a process namespace made for it: then no process
// outlives its init process.
func hasOwnProcesses(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, namespace := range spec.Linux.Namespaces {
		if namespace.Type == specs.PIDNamespace {
			return namespace.Path == ""
		}
	}
	return false
}

// stateDir is where the runtime keeps the state of the container.
func (s *Sandbox) stateDir() string { return filepath.Join(s.runtime.Root, s.id) }

// startDirectly lets the init process execute the command, and returns once it has.
func (s *Sandbox) startDirectly(ctx context.Context) error {
	name := filepath.Join(s.stateDir(), execFifo)
	// Without O_NONBLOCK this would wait for ever for an init process that has died.
	fifo, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fifo)
	held := s.init.WithHandle(func(pidfd uintptr) { err = awaitExec(ctx, fifo, int(pidfd)) })
	if err = errors.Join(held, err); err != nil {
		return err
	}
	return os.Remove(name) // while it is there, runc takes the container for one that is not started
}

// awaitExec waits for a byte from the FIFO and then for its end, which comes with the execution of
// the command: the descriptor closes on exec. A reader sees no end before there was a writer.
func awaitExec(ctx context.Context, fifo, pidfd int) error {
	began := false
	for {
		polled := []unix.PollFd{{Fd: int32(fifo), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, millisecondsLeft(ctx))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the container's init process: %w", err)
		case n == 0:
			return fmt.Errorf("wait for the container's init process: %w", context.DeadlineExceeded)
		case polled[0].Revents&unix.POLLIN != 0:
			n, err := unix.Read(fifo, make([]byte, 8))
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("hear from the container's init process: %w", err)
			}
			began = began || n > 0
		case began:
			return nil
		default:
			return errors.New("the container's init process has ended before it was started")
		}
	}
}

// millisecondsLeft is how long poll(2) may wait: until the deadline of ctx, -1 without one.
func millisecondsLeft(ctx context.Context) int {
	deadline, ok := ctx.Deadline()
	if !ok {
		return -1
	}
	return max(0, int(time.Until(deadline).Milliseconds()))
}

// deleteDirectly removes the cgroups and the state of a container whose processes are dead, and
// reports whether that was all. Whatever it does not know is left to the runtime.
func (s *Sandbox) deleteDirectly() (done bool) {
	data, err := os.ReadFile(filepath.Join(s.stateDir(), stateFile))
	if err != nil {
		return false
	}
	var state struct {
		PID      int               `json:"init_process_pid"`
		Groups   map[string]string `json:"cgroup_paths"` // by controller
		IntelRDT string            `json:"intel_rdt_path"`
	}
	if json.Unmarshal(data, &state) != nil || state.PID != s.init.Pid || len(state.Groups) == 0 || state.IntelRDT != "" {
		return false
	}
	for _, group := range state.Groups {
		if filepath.Base(group) != cgroupName(s.id) || !strings.HasPrefix(filepath.Clean(group), cgroupRoot+"/") {
			return false // it may be others' too
		}
	}
	for _, group := range state.Groups { // several controllers can share one
		if removeGroup(group) != nil {
			return false
		}
	}
	// Last: whoever clears away after a sudden death finds by it what else is left.
	return beneath.RemoveAll(s.stateDir()) == nil
}
