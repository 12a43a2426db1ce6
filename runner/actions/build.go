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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/sandbox/network"
)

// builtName is in front of the names of images that the hook has built. No registry has the host.
const builtName = "actions.stepexec.invalid/built:"

// buildGrace is the time that a build has to end after a cancel.
const buildGrace = 3 * time.Second

// builder builds the images of actions that have a Dockerfile. buildah builds them, with the rights
// of the keeper, and keeps each of their layers by the content of the context and of the base.
type builder struct {
	program string
	runtime string // runc; "": buildah's own choice
	dir     string // buildah's own storage, of this state root
}

func newBuilder(root string) (*builder, error) {
	program, err := exec.LookPath("buildah")
	if err != nil {
		return nil, errors.New("there is no buildah to build it (apt-get install buildah; or build it in a workflow of its own, push it to a registry and name it: image: docker://REGISTRY/NAME)")
	}
	runtime, err := exec.LookPath("runc") // buildah's own choice may not know this machine's cgroups
	if err != nil {
		runtime = ""
	}
	return &builder{program: program, runtime: runtime, dir: buildsOf(root)}, nil
}

// buildsOf is where the builds of a state root are kept.
func buildsOf(root string) string { return filepath.Join(root, "buildah") }

// maxDockerfile bounds a Dockerfile and a file of what a build ignores, in bytes.
const maxDockerfile = 1 << 20

// source is what an image is built of. A job writes to the work folder, also while an image is
// built: neither a link in it nor a folder that is replaced must make the files of the machine, or
// of other jobs, a part of an image.
type source struct {
	dockerfile string // a copy
	dir        string // folder of the Dockerfile, below work
	work       string // the runner's work folder
}

var errOutside = errors.New("it is outside of the runner's work folder")

// source copies a Dockerfile.
func (b *builder) source(dockerfile, work string) (*source, error) {
	if work == "" {
		return nil, errors.New("the runner's work folder is not known")
	}
	if !isBelow(filepath.Clean(dockerfile), work) {
		return nil, errOutside
	}
	c := &source{dockerfile: filepath.Join(b.dir, "Dockerfile"), dir: filepath.Dir(dockerfile), work: work}
	for _, ending := range []string{"", ".dockerignore"} { // the second is looked for beside the first
		data, err := beneath.At(dockerfile+ending, work).ReadFile(maxDockerfile)
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
	return c, nil
}

// mount mounts the folder at a place where nobody can replace it.
func (c *source) mount(place string) error {
	dir, err := beneath.At(c.dir, c.work).Open(unix.O_DIRECTORY)
	if errors.Is(err, beneath.ErrLeadsOut) {
		return errOutside
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return beneath.Mount(dir, place)
}

// build builds an image and returns its ID. The log gets what buildah prints, in a fold.
func (b *builder) build(ctx context.Context, dockerfile, work string, log *os.File) (id string, err error) {
	from, err := b.source(dockerfile, work)
	if err != nil {
		return "", err
	}
	place, file := filepath.Join(b.dir, "context"), filepath.Join(b.temporary(), "id")
	if err := os.MkdirAll(place, 0o700); err != nil {
		return "", err
	}
	token := rand.Text()
	fmt.Fprintf(log, "::group::build %s\n::stop-commands::%s\n", escaped(dockerfile), token)
	args := []string{"build", "--layers", "--pull", "--iidfile", file}
	if b.runtime != "" {
		args = append(args, "--runtime", b.runtime, "--runtime-flag", "root="+b.states())
	}
	err = b.run(ctx, log, func() error { return from.mount(place) }, append(args, "--file", from.dockerfile, place)...)
	// A line that a build has not ended must not swallow the end of the commands' pause.
	fmt.Fprintf(log, "\n::%s::\n::endgroup::\n", token)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(file)
	id = strings.TrimPrefix(strings.TrimSpace(string(data)), "sha256:")
	if err == nil && id == "" {
		err = errors.New("buildah does not say what it has built")
	}
	return id, err
}

// What buildah keeps below the folder of builds: what it has built, and what it notes of that
// until the machine restarts.
const (
	storageName = "storage"
	runName     = "run"
)

// states is where the runtime notes the containers in which RUN runs.
func (b *builder) states() string { return filepath.Join(b.dir, "runtime") }

// temporary is where buildah has what it needs for a while. It is there while a build goes on, and
// after one that was killed.
func (b *builder) temporary() string { return filepath.Join(b.dir, "tmp") }

// begin takes the storage for one build, once what a build that was killed has left is cleared away.
func (b *builder) begin(ctx context.Context) (lock *os.File, err error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	if lock, err = lockFolder(ctx, b.dir); err != nil {
		return nil, err
	}
	if err := errors.Join(b.clear(ctx), os.MkdirAll(b.temporary(), 0o700)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// clear removes the containers, with their mounts and cgroups, and the files that a build has left,
// which fails, is of FROM alone, or was killed. Whoever calls it has the lock of the storage.
func (b *builder) clear(ctx context.Context) error {
	if _, err := os.Lstat(b.temporary()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
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
	var said bytes.Buffer
	if err := b.run(ctx, &said, nil, "rm", "--all"); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return beneath.RemoveAll(b.temporary())
}

// save writes an image as an OCI archive.
func (b *builder) save(ctx context.Context, id, file string) error {
	var said bytes.Buffer
	if err := b.run(ctx, &said, nil, "push", "--quiet", id, "oci-archive:"+file); err != nil {
		return fmt.Errorf("save what was built: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// run runs buildah in a process and a mount namespace of its own, which end with it, whatever ends
// it or the keeper: nothing that RUN has started and nothing that is mounted outlives them. prepare,
// unless it is nil, mounts what only this buildah shall see.
func (b *builder) run(ctx context.Context, out io.Writer, prepare func() error, args ...string) error {
	words := append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", "--", b.program, "--root", filepath.Join(b.dir, storageName), "--runroot", filepath.Join(b.dir, runName)}, args...)
	cmd := exec.CommandContext(ctx, "unshare", words...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "TMPDIR="+b.temporary())
	if uid, ok := rootless.Inside(); ok { // otherwise buildah takes itself for the machine's root
		cmd.Env = append(cmd.Env, "_CONTAINERS_USERNS_CONFIGURED=done", fmt.Sprint("_CONTAINERS_ROOTLESS_UID=", uid))
		if os.Getenv("STORAGE_DRIVER") == "" { // buildah's own choice copies every layer
			cmd.Env = append(cmd.Env, "STORAGE_DRIVER=overlay")
		}
	}
	cmd.WaitDelay = buildGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // when the thread ends
	err := network.OnOwnThread(func() (err error) {
		defer crash.Recover(&err)
		if prepare != nil {
			if err := inOwnMounts(prepare); err != nil {
				return err
			}
		}
		return cmd.Run()
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("buildah %s: %w", args[0], err)
	}
	return nil
}

// inOwnMounts gives the calling thread, and what it starts from then on, mounts of its own.
func inOwnMounts(prepare func() error) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts slaves of the machine's: %w", err)
	}
	return prepare()
}

// built returns the name by which the store has the image of a Dockerfile, which is built first.
func (s *server) built(ctx context.Context, serving *engine.Serving, dockerfile string, log *os.File) (name string, err error) {
	b, err := newBuilder(s.keeper.Root)
	if err != nil {
		return "", err
	}
	lock, err := b.begin(ctx)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	defer func() {
		err = errors.Join(err, b.clear(context.WithoutCancel(ctx)))
		if err == nil {
			_, err = b.prune(BuildLimits{KeepBytes: s.keeper.StoreLimit})
		}
	}()
	id, err := b.build(ctx, dockerfile, s.work, log)
	if err != nil {
		return "", err
	}
	name = builtName + id
	if isStored, err := serving.Load(ctx, name, ""); err != nil || isStored {
		return name, err
	}
	file := filepath.Join(b.temporary(), "built.tar")
	if err := b.save(ctx, id, file); err != nil {
		return "", err
	}
	_, err = serving.Load(ctx, name, file)
	return name, err
}
