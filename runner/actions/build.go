package actions

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// builtName is in front of the names of images that the hook has built. No registry has the host.
const builtName = "actions.stepexec.invalid/built:"

// buildGrace is the time that a build has to end after a cancel.
const buildGrace = 3 * time.Second

// builder builds the image of an action with a Dockerfile. buildah builds it, as the user who
// runs the runner, and keeps each of its layers by the content of the context and of the base.
type builder struct {
	program string
	runtime string // runc; "": buildah's own choice
	dir     string // buildah's own storage, of this state root
	hook    *Hook
}

func (h *Hook) builder(dockerfile string) (*builder, error) {
	program, err := exec.LookPath("buildah")
	if err != nil {
		return nil, fmt.Errorf("the action's image is to be built from %s, and there is no buildah to build it (apt-get install buildah; or build it in a workflow of its own, push it to a registry and name it: image: docker://REGISTRY/NAME)", dockerfile)
	}
	runtime, err := exec.LookPath("runc") // buildah's own choice may not know this machine's cgroups
	if err != nil {
		runtime = ""
	}
	return &builder{program: program, runtime: runtime, dir: filepath.Join(h.Root, "buildah"), hook: h}, nil
}

// maxDockerfile bounds a Dockerfile and a file of what a build ignores, in bytes.
const maxDockerfile = 1 << 20

// source is what an image is built of, opened once. A job writes to the work folder, also while
// an image is built: neither a link in it nor a folder that is replaced must make the files of
// the machine, or of other jobs, a part of an image.
type source struct {
	dockerfile string // a copy
	dir        string // where buildah finds the folder
	close      func() error
}

// source opens the folder of a Dockerfile. It takes away what an earlier build has left, which
// was killed.
func (b *builder) source(dockerfile string, f *folders) (*source, error) {
	if f.Work == "" {
		return nil, errors.New("the runner's work folder is not known")
	}
	if !isBelow(filepath.Clean(dockerfile), f.Work) {
		return nil, errOutside
	}
	c := &source{dockerfile: filepath.Join(b.dir, "Dockerfile"), dir: filepath.Dir(dockerfile), close: func() error { return nil }}
	for _, ending := range []string{"", ".dockerignore"} { // the second is looked for beside the first
		data, err := beneath.At(dockerfile+ending, f.Work).ReadFile(maxDockerfile)
		switch {
		case errors.Is(err, beneath.ErrLeadsOut):
			return nil, errOutside
		case err == nil:
			err = os.WriteFile(c.dockerfile+ending, data, 0o600)
		case ending != "" && errors.Is(err, os.ErrNotExist):
			err = os.RemoveAll(c.dockerfile + ending)
		}
		if err != nil {
			return nil, err
		}
	}
	if os.Geteuid() != 0 { // who cannot mount: docs/actions.md tells of it
		return c, nil
	}
	return c, c.mount(filepath.Join(b.dir, "context"), f)
}

var errOutside = errors.New("it is outside of the runner's work folder")

// mount mounts the folder where nobody can replace it.
func (c *source) mount(place string, f *folders) error {
	dir, err := beneath.At(c.dir, f.Work).Open(unix.O_DIRECTORY)
	if errors.Is(err, beneath.ErrLeadsOut) {
		return errOutside
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := os.MkdirAll(place, 0o700); err != nil {
		return err
	}
	unmount := func() error { return unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }
	if err := unmount(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: nothing is mounted there
		return fmt.Errorf("unmount %s: %w", place, err)
	}
	c.dir, c.close = place, unmount
	return beneath.Mount(dir, place)
}

// build builds an image and returns its ID. The runner's log has what buildah prints in a fold.
func (b *builder) build(ctx context.Context, dockerfile string, f *folders) (id string, err error) {
	if err := b.clear(ctx); err != nil { // a build that was killed
		return "", err
	}
	from, err := b.source(dockerfile, f)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	out, err := os.CreateTemp(b.dir, "id-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close(), os.Remove(out.Name())) }()
	token := rand.Text()
	fmt.Fprintf(b.hook.Stdout, "::group::build %s\n::stop-commands::%s\n", escaped(dockerfile), token)
	args := []string{"build", "--layers", "--pull", "--iidfile", out.Name()}
	if b.runtime != "" {
		args = append(args, "--runtime", b.runtime, "--runtime-flag", "root="+b.states())
	}
	err = b.run(ctx, b.hook.Stdout, append(args, "--file", from.dockerfile, from.dir)...)
	// A line that a build has not ended must not swallow the end of the commands' pause.
	fmt.Fprintf(b.hook.Stdout, "\n::%s::\n::endgroup::\n", token)
	// A build that fails leaves its container, and so does one of FROM alone.
	if err := errors.Join(err, b.clear(context.WithoutCancel(ctx))); err != nil {
		return "", err
	}
	data, err := os.ReadFile(out.Name())
	id = strings.TrimPrefix(strings.TrimSpace(string(data)), "sha256:")
	if err == nil && id == "" {
		err = errors.New("buildah does not say what it has built")
	}
	return id, err
}

// states is where the runtime notes the containers in which RUN runs.
func (b *builder) states() string { return filepath.Join(b.dir, "runtime") }

// temporary is where buildah has what it needs for a while.
func (b *builder) temporary() string { return filepath.Join(b.dir, "tmp") }

// clear removes the containers, with their mounts and cgroups, and the files that a build has left.
// Nobody else may build.
func (b *builder) clear(ctx context.Context) error {
	states, err := os.ReadDir(b.states())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, state := range states {
		said, err := exec.CommandContext(ctx, b.runtime, "--root", b.states(), "delete", "--force", state.Name()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("delete the container %s of a build: %w: %s", state.Name(), err, bytes.TrimSpace(said))
		}
	}
	if err := errors.Join(beneath.RemoveAll(b.temporary()), os.MkdirAll(b.temporary(), 0o700)); err != nil {
		return err
	}
	var said bytes.Buffer
	if err := b.run(ctx, &said, "rm", "--all"); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// save writes an image as an OCI archive.
func (b *builder) save(ctx context.Context, id, file string) error {
	var said bytes.Buffer
	if err := b.run(ctx, &said, "push", "--quiet", id, "oci-archive:"+file); err != nil {
		return fmt.Errorf("save what was built: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// run runs buildah. Root runs it in a process and a mount namespace of its own, which end with it,
// whatever ends it or the hook: nothing that RUN has started and nothing that is mounted outlives them.
func (b *builder) run(ctx context.Context, out io.Writer, args ...string) error {
	words := append([]string{b.program, "--root", filepath.Join(b.dir, "storage"), "--runroot", filepath.Join(b.dir, "run")}, args...)
	isApart := os.Geteuid() == 0
	if isApart {
		words = append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}, words...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "TMPDIR="+b.temporary())
	cmd.WaitDelay = buildGrace
	if isApart {
		runtime.LockOSThread() // the signal comes when the thread ends
		defer runtime.UnlockOSThread()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	} else {
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("buildah %s: %w", args[0], err)
	}
	return nil
}

// built has an image built for a container that has a Dockerfile, and the job's store take it.
func (h *Hook) built(ctx context.Context, folder string, c *Container) error {
	dockerfile := c.Dockerfile
	admitted := *c
	admitted.Dockerfile, admitted.Built = "", builtName+"admitted"
	if _, err := h.ask(ctx, folder, &call{Admit: &admitted}); err != nil { // before RUN runs anything
		return err
	}
	b, err := h.builder(dockerfile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	lock, err := lockFolder(ctx, b.dir) // one build at a time: see clear
	if err != nil {
		return err
	}
	defer lock.Close()
	f := foldersOf(h.Env, c)
	id, err := b.build(ctx, dockerfile, &f)
	if err != nil {
		return fmt.Errorf("build the action's image from %s: %w", dockerfile, err)
	}
	name, file := builtName+id, filepath.Join(folder, "built-"+id+".tar")
	isStored, err := h.ask(ctx, folder, &call{Load: &load{Name: name}})
	if err != nil || isStored {
		c.Dockerfile, c.Built = "", name
		return err
	}
	defer os.Remove(file)
	if err := b.save(ctx, id, file); err != nil {
		return err
	}
	_, err = h.ask(ctx, folder, &call{Load: &load{Name: name, File: file}})
	c.Dockerfile, c.Built = "", name
	return err
}

// ask has a keeper do something that prints nothing; true: it did.
func (h *Hook) ask(ctx context.Context, folder string, what *call) (bool, error) {
	conn, err := dial(folder)
	if err != nil {
		return false, jobGone(err)
	}
	defer conn.Close()
	a, err := h.relayed(func(stdout, stderr *os.File) (answer, error) { return what.request(ctx, conn, stdout, stderr) })
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a.Code == 0, err
}
