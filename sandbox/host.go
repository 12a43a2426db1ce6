package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/unpack/erofs"
)

// Options say where a Host keeps its state and how it runs steps.
type Options struct {
	Root    string // state root, shared by all runs
	Runtime string // name or path of an OCI runtime with runc's command line; "": runc

	// RuntimeRoot is the folder of the runtime's container state, for other programs to find it
	// there. crun writes the environment to it, where it stays until the container exists. "" means
	// memory that only the run can read.
	RuntimeRoot string

	// NetworkConfig is a CNI configuration list (.conflist) for private networks, in which all
	// containers of a run share one namespace. "" means the run's own bridge, on which every
	// container has its own address.
	NetworkConfig string

	// SystemdCgroup makes systemd create the cgroups of steps, as scopes, so that systemd knows of
	// them. Otherwise the runtime creates them.
	SystemdCgroup bool

	// NoPivot makes the runtime enter root file systems by chroot(2), for machines whose own root
	// is a ramdisk, which pivot_root(2) cannot leave. It is weaker: a step with CAP_SYS_CHROOT may
	// be able to escape.
	NoPivot bool

	// RuntimeCalls makes the runtime itself start and delete every container, start every program
	// in one, and make the mount points that an image lacks. Otherwise stepexec does so where it
	// knows how the runtime stores its state, which saves two processes per step; see also
	// ServeExecs.
	RuntimeCalls bool

	// Stopping bounds how long calls of the runtime go on when the run has been cancelled. Without a
	// grace, they have two minutes, as they have in any case.
	Stopping Stopping

	Images *erofs.Kept // keeps layers that are images mounted after the run; nil: each run mounts them anew

	CDIDirs []string // folders of CDI specifications; nil: /etc/cdi and /var/run/cdi

	Warn func(line string) // receives a line about anything that steps ask for and do not get; may be nil

	// Gone is called by Close as soon as nothing of the run is left on this machine, unless Close has
	// failed. Close then waits for the kernel, which takes some 20 ms to close the sockets of a
	// private network. It may be nil.
	Gone func()

	// Guard is the command line with which this program, executed once more, calls Guard with two
	// more arguments. With nil, only the next Open or Reap clears away after a crash.
	Guard []string
}

// Host is the place on this machine where the sandboxes of one run live:
//
//	ROOT/runs/ID/          0700, locked while the run lives
//	ROOT/runs/ID/upper-*/  files that the steps write outside their mounts, and to a workspace of the run
//	ROOT/runs/ID/layers/   mounted image layers that are not directories
//	ROOT/runs/ID/init/     the program of init processes, if a step has one: see mountInit
//	ROOT/runs/ID/private/  a tmpfs: bundles, scripts, secrets, FIFOs, runtime state
//	ROOT/runs/ID/runtime   a link to the runtime's state, if that is elsewhere: see runtimeRoot
//
// ROOT/mountpoints is shared by all runs: see mountPointsFor.
//
// Secrets are only in the tmpfs, so that they never reach a disk.
type Host struct {
	id           string
	dir          string
	runtime      string // absolute path
	lock         *os.File
	guard        *guardProcess // nil if there is none
	layers       layers
	networks     *networks
	hostNetwork  hostNetwork
	capabilities []string
	cdiDirs      []string
	cgroups      []hierarchy
	cgroup2      bool          // whether the machine has only cgroup v2
	systemd      bool          // whether systemd creates the steps' cgroups
	noPivot      bool          // see Options
	preparing    chan struct{} // see newPlaces
	direct       bool          // whether stepexec starts and deletes containers without the runtime: see isDirect
	runtimeCalls bool          // see Options
	leftovers    error         // see Leftovers

	rootless     bool                            // whether this process is in a user namespace, whose root is a normal user of the machine
	delegated    []hierarchy                     // trees in which steps have groups, if rootless
	cgroupParent string                          // of the steps' groups, when rootless; "": the runtime chooses
	lent         lent                            // folders of the machine, if rootless
	told         sync.Map                        // warnings already given
	initProgram  func() (path string, err error) // is mountInit, once
	initCopy     *os.File                        // the locked folder that mountInit uses; nil before
	warn         func(line string)
	gone         func()   // see Options
	stopping     Stopping // see Options
}

// Open creates the run's directories and removes whatever dead runs have left below the same root.
// It returns ErrNoRuntime or ErrPrivilege when this machine or user cannot run steps.
func Open(ctx context.Context, o Options) (*Host, error) {
	runtime, err := findRuntime(o.Runtime)
	if err != nil {
		return nil, err
	}
	if err := CheckPrivilege(); err != nil {
		return nil, err
	}
	granted, err := availableCapabilities()
	if err != nil {
		return nil, err
	}
	trees, err := cgroupTrees(o.SystemdCgroup)
	if err != nil {
		return nil, err
	}
	if o.SystemdCgroup && rootless.InNamespace() {
		return nil, fmt.Errorf("%w: --systemd-cgroup needs root: the numbers of processes in a namespace of one's own mean others to systemd", ErrPrivilege)
	}
	var own delegation
	inUserNamespace := rootless.InNamespace()
	if inUserNamespace {
		if own, err = findDelegation(trees); err != nil {
			return nil, err
		}
	}
	// Init processes outlive `runc create`. As their subreaper, stepexec becomes their parent and
	// gets their exit status (prctl(2), PR_SET_CHILD_SUBREAPER).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of steps: %w", err)
	}
	host := &Host{runtime: runtime, capabilities: granted, cdiDirs: o.CDIDirs, cgroup2: hasOnlyCgroup2(), cgroups: trees, systemd: o.SystemdCgroup, noPivot: o.NoPivot,
		preparing: newPlaces(), rootless: inUserNamespace, delegated: own.trees, cgroupParent: own.parent, warn: o.Warn, gone: o.Gone, stopping: o.Stopping}
	if host.warn == nil {
		host.warn = func(string) {}
	}
	if err := host.makeDir(ctx, o.Root); err != nil {
		return nil, fmt.Errorf("make a directory of the run in the state root %s: %w (--root names another)", o.Root, err)
	}
	// When a process of package rootless dies, all its processes and mounts go with it, including
	// the guard.
	if _, inside := rootless.Inside(); !inside {
		if host.guard, err = startGuard(ctx, o.Guard, host.dir, runtime); err != nil {
			return nil, errors.Join(err, os.RemoveAll(host.dir), host.lock.Close())
		}
	}
	host.initProgram = sync.OnceValues(host.mountInit)
	if host.networks, err = newNetworks(host.dir, o.NetworkConfig, host.rootless, host.warn); err != nil {
		return nil, errors.Join(err, host.guard.end(), os.RemoveAll(host.dir), host.lock.Close())
	}
	host.layers = layers{dir: filepath.Join(host.dir, "layers"), mounts: map[string]string{}, images: o.Images}
	if err := mountPrivate(host.private()); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	if err := host.makeRuntimeRoot(o.RuntimeRoot); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	host.runtimeCalls = o.RuntimeCalls
	host.direct = !o.RuntimeCalls && o.RuntimeRoot == "" && keepsKnownState(ctx, o.Root, host.dir, runtime)
	return host, nil
}

func findRuntime(name string) (string, error) {
	if name == "" {
		name = "runc"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w (install it, e.g. apt-get install runc, or name another with --runtime)", ErrNoRuntime, err)
	}
	return filepath.Abs(path)
}

// makeDir creates and locks the run's directory, and reaps dead runs.
func (h *Host) makeDir(ctx context.Context, root string) error {
	if err := os.MkdirAll(filepath.Join(root, "runs"), 0o700); err != nil {
		return err
	}
	all, err := lockRuns(root, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer all.Close()
	_, h.leftovers = reap(ctx, h.runtime, all.Name())
	h.id = strings.ToLower(rand.Text()[:10])
	h.dir = filepath.Join(all.Name(), h.id)
	if err := os.MkdirAll(h.private(), 0o700); err != nil {
		return err
	}
	if h.lock, err = openLocked(h.dir, unix.LOCK_EX|unix.LOCK_NB); err != nil || h.cgroupParent == "" {
		return err
	}
	return h.noteCgroupParent(h.cgroupParent)
}

// openLocked opens a directory and locks it. With unix.LOCK_NB it does not wait but returns
// unix.EWOULDBLOCK while another process holds the lock: the lock of a run's directory is held
// while that run lives.
func openLocked(dir string, how int) (*os.File, error) {
	file, err := os.OpenFile(dir, os.O_RDONLY|unix.O_NONBLOCK, 0) // in another user's state root it may be a FIFO
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(file.Fd()), how)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), file.Close())
		}
		return file, nil
	}
}

func mountPrivate(dir string) error {
	err := unix.Mount("stepexec", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: mount a tmpfs at %s: %w (stepexec needs CAP_SYS_ADMIN)", ErrPrivilege, dir, err)
	}
	if err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	return nil
}

// ID returns the run's name, which is unique on this machine.
func (h *Host) ID() string { return h.id }

// Leftovers returns the error of clearing away dead runs in Open, if any. It needs somebody's
// attention but does not disturb this run.
func (h *Host) Leftovers() error { return h.leftovers }

// Dir returns a folder in memory for the files of one step. It is created when missing, and removed
// with the Host.
func (h *Host) Dir(step string) (string, error) {
	dir := filepath.Join(h.private(), step)
	return dir, os.MkdirAll(dir, 0o700)
}

// Close removes everything that the run has left on this machine. All sandboxes must have been
// removed before.
func (h *Host) Close() (err error) {
	defer func() { err = errors.Join(err, h.networks.wait()) }()
	defer h.layers.images.Sweep()
	if left := h.hostNetwork.left(); left != "" {
		h.warn(left)
	}
	if err := h.lent.takeBack(); err != nil {
		h.warn(err.Error())
	}
	err = errors.Join(clearGroups(context.Background(), h.dir), h.keepShared(), endRun(h.networks.down, h.dir), h.guard.end(), h.releaseInit(), h.lock.Close())
	if err == nil && h.gone != nil {
		h.gone()
	}
	return err
}

// tell gives a warning once per run.
func (h *Host) tell(about, line string) {
	if _, told := h.told.LoadOrStore(about, true); !told {
		h.warn(line)
	}
}

// root returns the state root.
func (h *Host) root() string { return filepath.Dir(filepath.Dir(h.dir)) }

func (h *Host) private() string { return filepath.Join(h.dir, "private") }

func (h *Host) containerID(step *Step) string { return h.id + "-" + step.ID }
