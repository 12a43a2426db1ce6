package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// overlay mounts an overlay on the state root's own file system and writes to it. Overlays of a
// normal user need a user namespace: the container check has one.
func (m *Machine) overlay(context.Context) Result {
	if !m.isRoot() {
		return ok("tried with the container")
	}
	if err := m.tryOverlay(2); err != nil {
		return warn(err.Error()+": images are copied for every step", "modprobe overlay; or name a directory on ext4, xfs or btrfs with --root")
	}
	return ok("mounted and written to")
}

// layers is more layers than fit in the option string of mount(2), which is one page.
const layers = 200

func (m *Machine) manyLayers(context.Context) Result {
	if !m.isRoot() {
		return ok("tried with the container")
	}
	if err := m.tryOverlay(layers); err != nil {
		return warn(fmt.Sprintf("images of more than 128 layers do not run (%v)", err), "run a kernel of version 6.8 or newer")
	}
	return ok(fmt.Sprintf("an overlay of %d layers was mounted", layers))
}

// tryOverlay mounts a detached overlay of n layers, and removes everything.
func (m *Machine) tryOverlay(n int) (err error) {
	parent, _ := m.existing()
	dir, err := os.MkdirTemp(parent, ".stepexec-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sub := func(name string) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.Mkdir(path, 0o755)
	}
	upper, err := sub("upper")
	if err != nil {
		return err
	}
	work, err := sub("work")
	if err != nil {
		return err
	}
	options := [][2]string{{"upperdir", upper}, {"workdir", work}}
	for i := range n {
		lower, err := sub(strconv.Itoa(i))
		if err != nil {
			return err
		}
		options = append(options, [2]string{"lowerdir+", lower})
	}
	return mountOverlay(options)
}

// mountOverlay mounts with the new system calls. Where the kernel does not accept layers one by
// one, it mounts with mount(2), as long as the layers are few enough to fit.
func mountOverlay(options [][2]string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("overlayfs: %w", err)
	}
	defer unix.Close(fs)
	lowers := ""
	for _, option := range options {
		err := unix.FsconfigSetString(fs, option[0], option[1])
		if option[0] == "lowerdir+" && errors.Is(err, unix.EINVAL) && len(options) < 10 { // before Linux 6.8
			lowers += ":" + option[1]
			continue
		}
		if err != nil {
			return fmt.Errorf("overlay option %s: %w", option[0], err)
		}
	}
	if lowers != "" {
		if err := unix.FsconfigSetString(fs, "lowerdir", lowers[1:]); err != nil {
			return fmt.Errorf("overlay option lowerdir: %w", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("create overlay: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	defer unix.Close(root)
	file, err := unix.Openat(root, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("write to overlay: %w", err)
	}
	return unix.Close(file)
}
