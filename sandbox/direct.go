package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// A call of the runtime takes about 4 ms, mostly to start its program. runc itself does little to
// start a container and to delete it, so stepexec does both where runc stores a container's state
// in the format used since version 1.0:
//
//   - ROOT/ID/exec.fifo: the init process waits for a reader of it, writes one byte, and closes it
//     by executing the command. The file is then removed.
//   - ROOT/ID/state.json: the cgroups of the container. They and the folder are all that remains
//     once its processes are dead.
//
// The runtime handles everything else: other runtimes and versions, containers with hooks (which
// runtimes call on start and delete), cgroups created by systemd, process namespaces and cgroups
// that the container shares, and state that other programs read.

const (
	execFifo  = "exec.fifo"
	stateFile = "state.json"
)

// isDirect reports whether stepexec itself starts and deletes a container that has just been
// created.
func (s *Sandbox) isDirect(h *Host, spec *specs.Spec) bool {
	if !h.direct || spec.Hooks != nil || s.runtime.SystemdCgroup || !hasOwnProcesses(spec) {
		return false
	}
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(s.stateDir(), execFifo), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// hasOwnProcesses reports whether a container has a new process namespace: then no process outlives
// its init process.
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

// stateDir returns the folder in which the runtime keeps the container's state.
func (s *Sandbox) stateDir() string { return filepath.Join(s.runtime.Root, s.id) }

// startDirectly lets the init process execute the command, and returns once that has happened.
func (s *Sandbox) startDirectly(ctx context.Context) error {
	name := filepath.Join(s.stateDir(), execFifo)
	// Without O_NONBLOCK this would wait forever for an init process that has died.
	fifo, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fifo)
	over, end, err := os.Pipe()
	if err != nil {
		return err
	}
	defer over.Close()
	defer end.Close()
	defer context.AfterFunc(ctx, func() { _ = end.Close() })()
	held := s.init.WithHandle(func(pidfd uintptr) { err = awaitExec(ctx, fifo, int(pidfd), int(over.Fd())) })
	if err = errors.Join(held, err); err != nil {
		return err
	}
	return os.Remove(name) // as long as it exists, runc considers the container not started
}

// awaitExec waits for a byte from the FIFO and then for its end, which comes when the command is
// executed: the descriptor closes on exec. A reader sees no end before there was a writer. The pipe
// over ends with ctx, which poll(2) knows nothing of.
func awaitExec(ctx context.Context, fifo, pidfd, over int) error {
	began := false
	for {
		polled := []unix.PollFd{{Fd: int32(fifo), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(over)}}
		_, err := unix.Poll(polled, -1)
		isOver := polled[0].Revents == 0 && polled[1].Revents == 0
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the container's init process: %w", err)
		case isOver:
			return fmt.Errorf("wait for the container's init process: %w", context.Cause(ctx))
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

// deleteDirectly removes the cgroups and the state of a container whose processes are dead, and
// reports whether that removed everything. It leaves anything unknown to the runtime.
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
			return false // others may use it too
		}
	}
	for _, group := range state.Groups { // several controllers can share one
		if removeGroup(group) != nil {
			return false
		}
	}
	// This comes last: a clean-up after a crash finds the rest through it.
	return beneath.RemoveAll(s.stateDir()) == nil
}
