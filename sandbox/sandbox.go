package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/go-runc"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/sandbox/childinit"
	"github.com/stepexec/stepexec/sandbox/network"
)

// ScriptPath is the path of the script inside a step.
const ScriptPath = "/run/stepexec/script"

// Sandbox is a step's container, from its creation on.
type Sandbox struct {
	step    *Step
	id      string
	bundle  string // its folder in memory
	log     string
	runtime *runc.Runc
	process *specs.Process // the command, as passed to the runtime
	noPivot bool
	cgroups []hierarchy
	cgroup  cgroup
	init    *os.Process   // the container's init process, held by a pidfd
	term    *Terminal     // nil if there is none
	reaped  bool          // init's exit status has been collected
	direct  bool          // started and deleted without the runtime: see isDirect
	waiting string        // the kernel's name of init before it executes the command
	fault   *programFault // what would prevent the kernel from executing the command; nil: nothing found
	upper   string        // folder of the files that the step writes outside its mounts
	leave   bool          // whether upper stays after Remove
	release []func() error

	host     *Host
	stopping Stopping          // bounds calls of the runtime
	endpoint *network.Endpoint // its place on the run's network; nil if there is none

	hasOwnPIDs   bool       // whether it has a process namespace of its own
	forks        forks      // see ServeExecs
	hasLastHooks bool       // whether the spec has poststop hooks, which may need the root file system and the network
	deleted      chan error // result of the runtime's delete, once begun
}

// Prepare mounts the step's root file system, writes its bundle and creates its container without
// starting the command. After an error nothing is left behind; a *CommandError or *UserError is the
// step's own fault.
func (h *Host) Prepare(ctx context.Context, step *Step) (_ *Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case h.preparing <- struct{}{}:
		defer func() { <-h.preparing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s := &Sandbox{host: h, step: step, id: h.containerID(step), cgroups: h.cgroups, noPivot: h.noPivot, stopping: h.stopping}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Remove())
		}
	}()
	dir, rootfs, err := s.mountRoot(ctx, h)
	if err != nil {
		return nil, err
	}
	step = s.step // with the folders of its volumes
	h.hostNetwork.note(h, step)
	endpoint, leaveNetwork, err := h.joinNetwork(ctx, step)
	if err != nil {
		return nil, err
	}
	s.release = append(s.release, leaveNetwork)

	s.endpoint = endpoint
	spec, err := h.specFor(step, dir, rootfs, endpoint)
	if err != nil {
		return nil, err
	}
	if step.Instead != nil {
		spec.Process.Args, spec.Process.Terminal = step.Instead, step.Advanced.TTY
	}
	unstage, err := h.stageSources(step, spec.Process.User, spec.Mounts)
	if err != nil {
		return nil, err
	}
	s.release = append(s.release, unstage)
	if err := h.makeCgroupParent(step.Advanced.CgroupParent); err != nil {
		return nil, err
	}
	connected, err := s.connect(spec)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, dir, spec); err != nil {
		return nil, err
	}
	return s, connected()
}

// mountRoot creates the step's folder, mounts its root file system there, and makes the volumes.
func (s *Sandbox) mountRoot(ctx context.Context, h *Host) (dir, rootfs string, err error) {
	own, err := h.Dir(s.step.ID)
	if err != nil {
		return "", "", err
	}
	// This does not use dir: after an error it is "" when this function is called.
	s.release = append(s.release, func() error { return beneath.RemoveAll(own) }, s.awaitDelete)
	dir = own
	s.bundle, s.log = dir, filepath.Join(dir, "runtime.log")
	s.runtime = h.newRuntime(s.log)

	if err := h.checkIDs(s.step); err != nil {
		return "", "", err
	}
	rootfs, removeRootfs, err := h.rootfs(s.step, dir)
	if err != nil {
		return "", "", err
	}
	s.release = append(s.release, removeRootfs)
	layers, unstage, err := h.stageLayers(s.step)
	if err != nil {
		return "", "", err
	}
	s.release = append(s.release, unstage)
	lowerdirs, err := h.layers.lowerdirs(layers, &s.step.Security)
	if err != nil {
		return "", "", err
	}
	points, err := h.mountPointsFor(s.step, lowerdirs)
	if err != nil {
		return "", "", err
	}
	s.upper, s.leave = cmp.Or(s.step.Upper, filepath.Join(h.dir, "upper-"+s.step.ID)), s.step.Upper != ""
	unmount, err := h.mountRootfs(ctx, lowerdirs, points, s.upper, rootfs, func() bool { return s.leave })
	if err != nil {
		return "", "", err
	}
	s.release = append(s.release, unmount)
	return dir, rootfs, s.makeVolumes(ctx, h, rootfs)
}

// specFor checks the image and the mount points, and builds the spec.
func (h *Host) specFor(step *Step, dir, rootfs string, endpoint *network.Endpoint) (*specs.Spec, error) {
	if err := checkRootfs(rootfs); err != nil {
		return nil, fmt.Errorf("image %s: %w", step.Image, err)
	}
	build := h.customSpec
	if step.Advanced.Spec != nil {
		build = h.rawSpec
	}
	spec, err := build(step, dir, rootfs, endpoint)
	if err == nil {
		confineHooks(spec.Hooks)
	}
	return spec, err
}

// customSpec returns the spec that a step's keys ask for, with its patch applied.
func (h *Host) customSpec(step *Step, dir, rootfs string, endpoint *network.Endpoint) (*specs.Spec, error) {
	if err := errors.Join(checkDestinations(step.Mounts), checkDirectory(workingDirectory(step))); err != nil {
		return nil, err
	}
	name := step.User
	if name == "" {
		name = step.Config.User
	}
	who, err := lookupUser(rootfs, name)
	if err != nil {
		return nil, &UserError{User: name, Image: step.Image, Err: err}
	}
	if err := addGroups(who, rootfs, step.Security.Groups); err != nil {
		return nil, &UserError{User: name, Image: step.Image, Err: err}
	}
	files, err := h.stepFiles(step, dir, who, endpoint)
	if err != nil {
		return nil, err
	}
	spec, err := h.newSpec(step, rootfs, who, files)
	if err != nil {
		return nil, err
	}
	return customize(spec, step)
}

// stepFiles writes the files that stepexec provides to a step (hosts, resolv.conf, the script and
// the secrets) and returns their mounts.
func (h *Host) stepFiles(step *Step, dir string, who *user.ExecUser, endpoint *network.Endpoint) ([]specs.Mount, error) {
	uid, gid, err := hostOwner(&step.Security, who.Uid, who.Gid)
	if err != nil {
		return nil, err
	}
	if hasUserNamespace(&step.Security) {
		if err := giveStreams(step, uid, gid); err != nil {
			return nil, err
		}
	}
	mounts, err := h.networkFiles(dir, step, endpoint)
	if err != nil {
		return nil, err
	}
	if step.Script != nil {
		script := filepath.Join(dir, "script")
		if err := writeFile(script, step.Script, 0o555); err != nil {
			return nil, err
		}
		mounts = append(mounts, bindFile(script, ScriptPath, "ro"))
	}
	if step.Advanced.Init {
		program, err := h.initProgram()
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, bindFile(program, childinit.Path, "ro"))
	}
	if len(step.Secrets) > 0 {
		secrets := filepath.Join(dir, "secrets")
		if err := writeSecrets(secrets, step.Secrets, uid, gid); err != nil {
			return nil, err
		}
		mounts = append(mounts, bindFile(secrets, secretsPath, "ro", "noexec"))
	}
	return mounts, nil
}

// Start lets the created container run its command.
func (s *Sandbox) Start(ctx context.Context) error {
	ctx, cancel := s.stopping.call(ctx)
	defer cancel()
	s.lookAtProgram()
	if s.direct {
		if err := s.startDirectly(ctx); err != nil {
			return fmt.Errorf("start container: %w", err)
		}
	} else if err := killedBy(ctx, s.runtime.Start(ctx, s.id)); err != nil {
		return runtimeError("start container", s.log, err)
	}
	if s.term != nil {
		s.term.begin()
	}
	return nil
}

// ReadFile reads a small regular file of the step's root file system, without its mounts. It
// returns nothing when there is none. It follows links only inside the root file system.
func (s *Sandbox) ReadFile(name string) ([]byte, error) {
	return readInRootfs(filepath.Join(s.bundle, "rootfs"), strings.TrimPrefix(name, "/"))
}

// Image is the step's image, as the user wrote it.
func (s *Sandbox) Image() string { return s.step.Image }

// Terminal returns the step's terminal, or nil if it has none.
func (s *Sandbox) Terminal() *Terminal { return s.term }

// Wait waits for the command to end and returns how it ended. When ctx ends first, the step gets
// the image's stop signal and, after the grace, SIGKILL; Wait still returns only when it is dead. A
// *CommandError says that the kernel could not execute the command.
func (s *Sandbox) Wait(ctx context.Context, stop Stopping) (Exit, error) {
	var state *os.ProcessState
	var waitErr error
	var name string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer crash.Recover(&waitErr)
		_ = s.init.WithHandle(func(pidfd uintptr) { awaitEnd(int(pidfd)) })
		name = processName(s.init.Pid)
		state, waitErr = s.init.Wait() // waits through a pidfd: no polling, no pid reuse
		offspring.forget(s.init.Pid)
	}()
	stopErr := s.end(ctx, stop, ended)
	offspring.collectUntil(ended, nil, true)
	if waitErr != nil {
		return Exit{}, errors.Join(fmt.Errorf("wait for the step's process: %w", waitErr), stopErr)
	}
	s.reaped = true
	stopErr = errors.Join(stopErr, s.withdraw(), s.term.end(), giveWorkspace(s.step))
	exit := exitOf(state)
	err := exit.addCgroup(s.cgroup)
	// Stopped before it executes the command, runc's init process exits by itself.
	if exit.Signal == 0 && ctx.Err() == nil {
		err = errors.Join(s.notExecuted(name, commandOf(s.process).Args[0], s.fault), s.initFailed(name, exit), err)
	}
	return exit, errors.Join(err, stopErr)
}

// end returns when the step has ended by itself or has been killed.
func (s *Sandbox) end(ctx context.Context, stop Stopping, ended <-chan struct{}) error {
	if offspring.collectUntil(ended, ctx.Done(), false) {
		return nil
	}
	over, stopErr := s.stop()
	grace := time.NewTimer(stop.Grace)
	defer grace.Stop()
	select {
	case <-ended:
		return stopErr
	case err := <-over:
		stopErr = errors.Join(stopErr, err)
	case <-grace.C:
	case <-stop.Now:
	}
	return errors.Join(stopErr, s.kill())
}

// Remove kills the remaining processes and removes the container, its mounts, its cgroup and its
// files. It may be called once, in any state.
func (s *Sandbox) Remove() error {
	var failed []error
	for _, release := range slices.Backward(s.release) {
		failed = append(failed, release())
	}
	s.release = nil
	return errors.Join(failed...)
}

// deleteContainer begins to remove the container from the runtime; awaitDelete waits for the end.
// If the init process is still alive, it is killed first and reaped here, as a child of this
// process.
func (s *Sandbox) deleteContainer() error {
	if err := s.forks.end(); err != nil {
		return fmt.Errorf("end the process that starts programs in the container: %w", err)
	}
	if s.init != nil && !s.reaped {
		if err := s.kill(); err != nil {
			return fmt.Errorf("kill the step's process: %w", err)
		}
		_, err := s.init.Wait()
		offspring.forget(s.init.Pid)
		if err != nil {
			return fmt.Errorf("wait for the step's process: %w", err)
		}
	}
	if err := s.killJoined(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.runtime.Root, s.id)); errors.Is(err, os.ErrNotExist) {
		return nil // after a failed create the runtime has removed it already
	}
	if s.direct && s.deleteDirectly() {
		return nil
	}
	s.deleted = make(chan error, 1)
	go func() { // ends with awaitDelete
		var err error
		defer func() { s.deleted <- err }()
		defer crash.Recover(&err)
		ctx, cancel := s.stopping.removal()
		defer cancel()
		err = killedBy(ctx, s.runtime.Delete(ctx, s.id, &runc.DeleteOpts{Force: true}))
	}()
	if s.init == nil || s.hasLastHooks {
		return s.awaitDelete()
	}
	// All processes are dead. The runtime still removes its records and cgroups, which takes as
	// long as unmounting and deleting the root file system and happens at the same time.
	return nil
}

// awaitDelete waits until the runtime has deleted the container, if deletion was begun.
func (s *Sandbox) awaitDelete() error {
	if s.deleted == nil {
		return nil
	}
	err := <-s.deleted
	s.deleted = nil
	if err != nil {
		return runtimeError("delete container", s.log, err)
	}
	return nil
}
