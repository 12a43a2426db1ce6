package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/go-runc"
	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// create writes config.json, lets the runtime create the container, and deletes config.json again:
// it holds the environment, and neither start nor delete needs it.
func (s *Sandbox) create(ctx context.Context, bundle string, spec *specs.Spec) error {
	s.process, s.hasOwnPIDs = spec.Process, hasOwnProcesses(spec)
	s.hasLastHooks = spec.Hooks != nil && len(spec.Hooks.Poststop) > 0
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode OCI spec: %w", err)
	}
	config, pidFile := filepath.Join(bundle, "config.json"), filepath.Join(bundle, "pid")
	if err := os.WriteFile(config, data, 0o600); err != nil {
		return err
	}
	ctx, cancel := s.stopping.call(ctx)
	defer cancel()
	s.release = append(s.release, func() error { return s.term.close() }, s.deleteContainer)
	err = killedBy(ctx, s.callCreate(ctx, bundle, pidFile, spec.Process.Terminal))
	if removed := os.Remove(config); removed != nil {
		return errors.Join(err, removed)
	}
	if err != nil {
		return s.createError(ctx, commandOf(spec.Process).Args[0], err)
	}
	if err := s.forgetEnvironment(spec); err != nil {
		return fmt.Errorf("remove the environment from the runtime's state: %w", err)
	}
	pid := s.init.Pid
	s.direct = s.isDirect(s.host, spec)
	if err := writePidFile(s.step, pid); err != nil {
		return err
	}
	if err := verifyContainer(pid, spec); err != nil {
		return fmt.Errorf("image %s: %w", s.step.Image, err)
	}
	if s.cgroup, err = findCgroup(pid, s.cgroups); err != nil || !s.runtime.SystemdCgroup {
		return err
	}
	letGo, err := s.cgroup.holdScope()
	if err == nil {
		s.release = append(s.release, letGo)
	}
	return err
}

// forgetEnvironment replaces the copy of config.json that crun keeps in its state as long as the
// container exists. crun reads hooks from it, and what programs that join the container get unless
// told otherwise; the init process has its environment already.
func (s *Sandbox) forgetEnvironment(spec *specs.Spec) error {
	file, err := os.OpenFile(filepath.Join(s.stateDir(), "config.json"), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // runc keeps none
	}
	if err != nil {
		return err
	}
	defer file.Close()
	kept, process := *spec, *spec.Process
	process.Env, process.Args = nil, process.Args[:1]
	kept.Process = &process
	data, err := json.Marshal(&kept)
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.Write(data)
	return err
}

// callCreate lets the runtime create the container, and holds its init process.
func (s *Sandbox) callCreate(ctx context.Context, bundle, pidFile string, terminal bool) (err error) {
	offspring.begin(pidFile)
	defer func() {
		if s.init == nil { // also after a panic
			err = errors.Join(err, offspring.fail(pidFile))
		}
	}()
	if err := s.createWithStreams(ctx, bundle, pidFile, terminal); err != nil {
		return err
	}
	s.init, err = offspring.adopt(pidFile)
	return err
}

// createWithStreams gives the container the step's streams or a terminal.
func (s *Sandbox) createWithStreams(ctx context.Context, bundle, pidFile string, terminal bool) error {
	opts := &runc.CreateOpts{PidFile: pidFile, NoPivot: s.noPivot}
	if !terminal {
		streams, err := newStdio(s.step.Stdin, s.step.Stdout, s.step.Stderr)
		if err != nil {
			return err
		}
		defer streams.Close()
		opts.IO = streams
		return s.runtime.Create(ctx, s.id, bundle, opts)
	}
	socket, err := newConsoleSocket(bundle)
	if err != nil {
		return err
	}
	opts.ConsoleSocket = socket
	if err = s.runtime.Create(ctx, s.id, bundle, opts); err == nil {
		s.term, err = socket.receive(ctx, s.step)
	}
	return errors.Join(err, socket.Close())
}

func (s *Sandbox) createError(ctx context.Context, command string, err error) error {
	if message, readErr := lastError(s.log); message == "" && readErr == nil && ctx.Err() == nil {
		return fmt.Errorf("create container: %w (%s)", err, judgeRuntime(ctx, s.runtime.Command))
	}
	failure := runtimeError("create container", s.log, err)
	if tooLittleMemory(failure.Error()) && s.step.Limits.Memory > 0 {
		return &LimitError{"memory", fmt.Errorf("%s is less than %s needs to start the container here", units.BytesSize(float64(s.step.Limits.Memory)), filepath.Base(s.runtime.Command))}
	}
	if code, ok := commandFailure(failure.Error()); ok {
		return &CommandError{Code: code, Command: command, Image: s.step.Image, Err: failure}
	}
	if place, why := mountFailure(failure.Error()); slices.ContainsFunc(s.step.Mounts, func(m Mount) bool { return path.Clean(m.Destination) == place }) {
		return fmt.Errorf("mount at %s in image %s: %s", place, s.step.Image, why)
	}
	if name, why := sysctlFailure(failure.Error(), s.step.Advanced.Sysctls); name != "" {
		return fmt.Errorf("sysctls: %s: %s", name, why)
	}
	if strings.Contains(failure.Error(), "no cgroup mount found") {
		return fmt.Errorf("%w (mount them, as in: mount -t cgroup2 none /sys/fs/cgroup; stepexec doctor says what else is missing)", failure)
	}
	return failure
}
