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

	"golang.org/x/sys/unix"
)

// Options say where a Host keeps its state and what it runs steps with.
type Options struct {
	Root    string // state root, shared by all runs
	Runtime string // name or path of an OCI runtime with runc's command line; "": runc

	// NetworkConfig is a CNI configuration list (.conflist) for private
	// networks; "": a bridge of the run's own, with masquerading.
	NetworkConfig string

	// SystemdCgroup has systemd make the cgroups of steps, as scopes, so that
	// it knows of them; else the runtime makes them by itself.
	SystemdCgroup bool

	CDIDirs []string // where CDI specifications are; nil: /etc/cdi and /var/run/cdi
}

// Host is the place on this machine where the sandboxes of one run live:
//
//	ROOT/runs/ID/          0700, locked while the run lives
//	ROOT/runs/ID/upper/    what the steps write outside their mounts
//	ROOT/runs/ID/layers/   layers of images that are not directories, mounted
//	ROOT/runs/ID/private/  a tmpfs: bundles, scripts, secrets, FIFOs, runtime state
//
// What holds a secret is in the tmpfs only, so that it never reaches a disk.
type Host struct {
	id           string
	dir          string
	runtime      string // absolute path
	lock         *os.File
	layers       layers
	network      *privateNetwork
	capabilities []string
	cdiDirs      []string
	cgroups      []hierarchy
	cgroup2      bool  // the machine has cgroup v2 alone
	systemd      bool  // makes the steps' cgroups
	leftovers    error // see Leftovers
}

// Open makes the run's directories and takes away what runs that died have
// left below the same root. It returns ErrNoRuntime or ErrPrivilege when this
// machine or user cannot run steps.
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
	// Init processes outlive `runc create`; as their subreaper stepexec becomes
	// their parent and gets their exit status (prctl(2), PR_SET_CHILD_SUBREAPER).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of steps: %w", err)
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	host := &Host{runtime: runtime, capabilities: granted, cdiDirs: o.CDIDirs, cgroup2: hasOnlyCgroup2(), cgroups: trees, systemd: o.SystemdCgroup}
	if err := host.makeDir(ctx, filepath.Join(root, "runs")); err != nil {
		return nil, err
	}
	host.network = newPrivateNetwork(host.dir, o.NetworkConfig)
	host.layers = layers{dir: filepath.Join(host.dir, "layers"), mounts: map[string]string{}}
	if err := mountPrivate(host.private()); err != nil {
		return nil, errors.Join(err, host.Close())
	}
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

// makeDir makes and locks the run's directory. The lock on the folder of all
// runs keeps a run that is just being made from looking like a dead one.
func (h *Host) makeDir(ctx context.Context, runs string) error {
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return err
	}
	all, err := os.Open(runs)
	if err != nil {
		return err
	}
	defer all.Close()
	if err := unix.Flock(int(all.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", runs, err)
	}
	h.leftovers = h.reap(ctx, runs)
	h.id = strings.ToLower(rand.Text()[:10])
	h.dir = filepath.Join(runs, h.id)
	if err := os.MkdirAll(h.private(), 0o700); err != nil {
		return err
	}
	h.lock, err = lockDir(h.dir)
	return err
}

// lockDir takes the exclusive lock of a run's directory, or returns
// unix.EWOULDBLOCK while that run lives.
func lockDir(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
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

// ID is the run's name, unique on this machine.
func (h *Host) ID() string { return h.id }

// Leftovers says what of runs that died could not be cleared away by Open, if
// anything. It needs somebody's attention but does not disturb this run.
func (h *Host) Leftovers() error { return h.leftovers }

// Dir is a folder in memory for the files of one step, made when missing and
// gone with the Host.
func (h *Host) Dir(step string) (string, error) {
	dir := filepath.Join(h.private(), step)
	return dir, os.MkdirAll(dir, 0o700)
}

// Close removes all that the run has left on this machine. Sandboxes must
// have been removed before.
func (h *Host) Close() error {
	return errors.Join(endRun(h.network), h.lock.Close())
}

func (h *Host) private() string { return filepath.Join(h.dir, "private") }

func (h *Host) containerID(step *Step) string { return h.id + "-" + step.ID }
