package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// ErrKeptInUse says that somebody has the kept step open.
var ErrKeptInUse = errors.New("it is open in a shell")

// Kept is a step whose root file system stays after its run. It is data on disk; nothing runs or is
// mounted:
//
//	ROOT/kept/RUN/STEP/kept.json  this struct, without secrets
//	ROOT/kept/RUN/STEP/fs         files that the step has written
//	ROOT/kept/RUN/+volumes        those of the run's volumes that a kept step uses
//	ROOT/kept/RUN/+workspace/fs   files that the run has written to its own workspace
//
// Whoever opens it holds a lock on the step's folder.
type Kept struct {
	Run      string
	Name     string // of the step
	Pipeline string
	At       time.Time
	Ended    string // in words
	Step     Step
	Withheld map[string]string // variables and files that held secrets, to the name of the secret; "": of a part of it

	dir string
}

const (
	keptFile      = "kept.json"
	keptVolumes   = "+volumes" // step folders never contain a plus sign
	keptWorkspace = "+workspace"
	keptRest      = ".removed-" // prefix of names of folders that are being removed
)

func keptRoot(root string) string { return filepath.Join(root, "kept") }

// Pin returns the name of the pin that keeps the step's layers in the store.
func (k Kept) Pin() string { return k.Run + "-" + k.Step.ID }

// Upper returns the folder with the files that the step has written, for Step.Upper.
func (k Kept) Upper() string { return k.dir }

// LeaveRoot makes Remove leave the files that the step has written, and returns their folder, for
// Step.Upper or Host.Keep. Without either, it is removed with the Host.
func (s *Sandbox) LeaveRoot() string {
	s.leave = true
	return s.upper
}

// Keep makes a kept step of the folder from LeaveRoot, once its sandbox has been removed.
func (h *Host) Keep(upper string, k Kept) error {
	wrap := func(err error) error { return fmt.Errorf("keep step %s: %w", k.Name, err) }
	k.Run, k.At = h.id, time.Now()
	k.Step.Secrets, k.Step.Upper = nil, ""
	data, err := json.Marshal(k)
	if err != nil {
		return wrap(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(upper, keptFile), data, 0o600), beneath.RemoveAll(filepath.Join(upper, "work"))); err != nil {
		return wrap(err)
	}
	if err := os.MkdirAll(h.kept(), 0o700); err != nil {
		return wrap(err)
	}
	if err := os.Rename(upper, filepath.Join(h.kept(), k.Step.ID)); err != nil {
		return wrap(err)
	}
	return nil
}

func (h *Host) kept() string { return filepath.Join(keptRoot(filepath.Dir(filepath.Dir(h.dir))), h.id) }

// keepShared moves the volumes that kept steps use, and everything else that would be removed with
// the run. Nothing is mounted any more.
func (h *Host) keepShared() error {
	if _, err := os.Stat(h.kept()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var failed []error
	for from, to := range map[string]string{"volumes": keptVolumes, "upper-workspace": keptWorkspace} {
		err := os.Rename(filepath.Join(h.dir, from), filepath.Join(h.kept(), to))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("keep the run's %s: %w", strings.TrimPrefix(to, "+"), err))
		}
	}
	return errors.Join(failed...)
}

// ListKept returns the kept steps below a state root, newest first. The error describes those that
// cannot be read; the others are still returned.
func ListKept(root string) ([]Kept, error) {
	files, err := filepath.Glob(filepath.Join(keptRoot(root), "*", "*", keptFile))
	if err != nil {
		return nil, err
	}
	var all []Kept
	var failed []error
	for _, file := range files {
		k, err := readKept(filepath.Dir(file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(a, b Kept) int { return b.At.Compare(a.At) })
	return all, errors.Join(failed...)
}

func readKept(dir string) (Kept, error) {
	data, err := os.ReadFile(filepath.Join(dir, keptFile))
	if err != nil {
		return Kept{}, err
	}
	k := Kept{dir: dir}
	if err := json.Unmarshal(data, &k); err != nil {
		return Kept{}, fmt.Errorf("read %s: %w (remove its folder)", filepath.Join(dir, keptFile), err)
	}
	return k, nil
}

// Open protects the step from being removed, and from being opened by others, until release is
// called. The error is, or wraps, ErrKeptInUse or fs.ErrNotExist.
func (k Kept) Open() (release func() error, err error) {
	lock, err := openLocked(k.dir, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrKeptInUse
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(k.dir, keptFile)); err != nil { // it was removed in between
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

// Bytes returns the size on disk of the files that the step has written.
func (k Kept) Bytes() (bytes int64, err error) {
	dir, err := os.Open(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	err = beneath.Walk(dir, beneath.Visitor{Entry: func(dir *os.File, name string) (enter bool, err error) {
		var st unix.Stat_t
		err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		bytes += st.Blocks * 512
		return st.Mode&unix.S_IFMT == unix.S_IFDIR, err
	}})
	return bytes, err
}

// Remove removes a kept step and, with the last one of its run, the files that they shared. It
// returns ErrKeptInUse while somebody has the step open.
func (k Kept) Remove() error {
	release, err := k.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	run := filepath.Dir(k.dir)
	rest := filepath.Join(filepath.Dir(run), keptRest+k.Pin())
	if err := os.Rename(k.dir, rest); err != nil {
		return errors.Join(err, release())
	}
	return errors.Join(beneath.RemoveAll(rest), removeShared(run), release())
}

// removeShared removes the folder of a run without kept steps.
func removeShared(run string) error {
	entries, err := os.ReadDir(run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), "+") }) {
		return nil
	}
	rest := filepath.Join(filepath.Dir(run), keptRest+filepath.Base(run))
	if err := os.Rename(run, rest); err != nil {
		return err
	}
	return beneath.RemoveAll(rest)
}

// SweepKept removes what a killed Remove has left.
func SweepKept(root string) error {
	left, err := filepath.Glob(filepath.Join(keptRoot(root), keptRest+"*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range left {
		failed = append(failed, beneath.RemoveAll(path))
	}
	return errors.Join(failed...)
}

// Reopen returns the step in a form to be prepared on this host again, on the files that it has
// written, with its mounts. Folders of the run itself are elsewhere now. Call release after the
// sandbox is removed.
func (h *Host) Reopen(ctx context.Context, k Kept) (_ *Step, release func() error, err error) {
	step := k.Step
	step.Upper = k.dir
	run := filepath.Join(filepath.Dir(h.dir), k.Run)
	own, volumes := filepath.Join(run, "workspace"), filepath.Join(run, "volumes")
	release = func() error { return nil }
	here := ""
	if step.Workspace == own {
		here = filepath.Join(h.dir, "workspace")
		upper := filepath.Join(filepath.Dir(k.dir), keptWorkspace)
		if release, err = h.mountRootfs(ctx, []string{k.Step.WorkspaceBelow}, "", upper, here, func() bool { return true }); err != nil {
			return nil, nil, fmt.Errorf("mount the workspace of run %s: %w", k.Run, err)
		}
		step.Workspace = here
	}
	step.Mounts = slices.Clone(step.Mounts)
	for i, m := range step.Mounts {
		if below, ok := strings.CutPrefix(m.Source, volumes+"/"); ok {
			step.Mounts[i].Source = filepath.Join(filepath.Dir(k.dir), keptVolumes, below)
		}
		if below, ok := strings.CutPrefix(m.Source, own); ok && here != "" && (below == "" || below[0] == '/') {
			step.Mounts[i].Source = filepath.Join(here, below)
		}
	}
	return &step, release, nil
}
