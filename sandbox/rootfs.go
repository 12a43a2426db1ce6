package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/rootless"
)

// mountRootfs mounts an overlay of the lowerdirs (lowest first) at target, with the upper directory
// fs below upper, creating it when missing. Where the kernel refuses that, the upper directory
// becomes a copy of the layers and is itself mounted. points is one more layer, on top of the
// others, whose own root directory does not count; "" means none. The returned release unmounts the
// overlay and deletes upper, unless upper is to stay.
func (h *Host) mountRootfs(ctx context.Context, lowerdirs []string, points, upper, target string, stays func() bool) (release func() error, err error) {
	fs, work := filepath.Join(upper, "fs"), filepath.Join(upper, "work")
	_, err = os.Stat(fs)
	isNew := errors.Is(err, os.ErrNotExist)
	if !isNew { // the kernel refuses a work directory that a volatile overlay has used
		if err := beneath.RemoveAll(work); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{target, fs, work} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	// The container's root directory is the upper directory: its mode is the one that the step's
	// user sees at /.
	remove := func() error {
		if stays() {
			return nil
		}
		return beneath.RemoveAll(upper)
	}
	if isNew {
		if err := copyOwner(lowerdirs[len(lowerdirs)-1], fs); err != nil {
			return nil, errors.Join(err, remove())
		}
	}
	all := lowerdirs
	if points != "" {
		all = append(slices.Clip(lowerdirs), points)
	}
	err = mountOverlay(all, fs, work, target)
	if refusesOverlay(err) {
		h.tell("overlay", fmt.Sprintf("images are copied for every step, which takes time and space: %v (keep the state root on ext4, xfs or btrfs: --root)", err))
		if err = nil; isNew {
			err = copyLayers(ctx, lowerdirs, fs)
		}
		if err == nil {
			err = unix.Mount(fs, target, "", unix.MS_BIND, "")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount the image's root file system: %w", err), remove())
	}
	return func() error {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
		return remove()
	}, nil
}

func copyOwner(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return fmt.Errorf("stat %s: %w", from, err)
	}
	if err := os.Chown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(to, st.Mode&0o7777)
}

// mountOverlay uses the mount API with one lowerdir+ for each layer, which has no limit on the
// options' length and accepts any path. Kernels before 6.8 do not support lowerdir+, so there it
// uses the single option string of mount(2). Without an upper directory nothing can be written to
// the overlay, and no remount changes that.
func mountOverlay(lowerdirs []string, upper, work, target string) error {
	err := fsmountOverlay(lowerdirs, upper, work, target)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return classicOverlay(lowerdirs, upper, work, target)
	}
	return err
}

func fsmountOverlay(lowerdirs []string, upper, work, target string) error {
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fsfd)
	set := func(key, value string) error {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			return fmt.Errorf("overlay option %s=%s: %w", key, value, err)
		}
		return nil
	}
	for i := len(lowerdirs) - 1; i >= 0; i-- {
		if err := set("lowerdir+", lowerdirs[i]); err != nil {
			return err
		}
	}
	if upper != "" {
		if err := errors.Join(set("upperdir", upper), set("workdir", work)); err != nil {
			return err
		}
	}
	// Layers may lie in several file systems; with xino a file still has one device number and
	// keeps its inode number.
	if err := set("xino", "auto"); err != nil {
		return err
	}
	// volatile: files that a step writes outside its mounts are removed with it, so the fsyncs of
	// package managers would be wasted here.
	if upper != "" {
		if err := unix.FsconfigSetFlag(fsfd, "volatile"); err != nil {
			return fmt.Errorf("overlay option volatile: %w", err)
		}
	}
	if rootless.InNamespace() {
		if err := unix.FsconfigSetFlag(fsfd, "userxattr"); err != nil {
			return fmt.Errorf("overlay option userxattr: %w (Linux 5.11 and newer mount overlays in user namespaces)", err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return fmt.Errorf("create overlay of %d layers: %w", len(lowerdirs), err)
	}
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("fsmount overlay: %w", err)
	}
	defer unix.Close(mfd)
	if err := unix.MoveMount(mfd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount overlay at %s: %w", target, err)
	}
	return nil
}

// classicOverlay names the directories by descriptors, as /proc/self/fd/N: the options must fit
// into a page, 4096 bytes, and real paths of 42 layers fill it. These names also need no escaping.
func classicOverlay(lowerdirs []string, upper, work, target string) error {
	var open []*os.File
	defer func() {
		for _, file := range open {
			file.Close()
		}
	}()
	byDescriptor := func(path string) (string, error) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "open", Path: path, Err: err}
		}
		open = append(open, os.NewFile(uintptr(fd), path))
		return fmt.Sprintf("/proc/self/fd/%d", fd), nil
	}
	options := "xino=auto,"
	if rootless.InNamespace() {
		options += "userxattr,"
	}
	var names []string
	for _, path := range slices.Backward(lowerdirs) {
		name, err := byDescriptor(path)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	options += "lowerdir=" + strings.Join(names, ":")
	if upper != "" {
		upperName, err := byDescriptor(upper)
		if err != nil {
			return err
		}
		workName, err := byDescriptor(work)
		if err != nil {
			return err
		}
		options += ",volatile,upperdir=" + upperName + ",workdir=" + workName
	}
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("mount overlay of %d layers: more than this kernel takes (6.8 and newer take 500)", len(lowerdirs))
	}
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay of %d layers: %w", len(lowerdirs), err)
	}
	return nil
}

// checkRootfs rejects an image whose /dev, /proc or /sys is not a directory. The runtime mounts
// there; a link would redirect the mount, even to the host's own /proc (CVE-2019-19921,
// CVE-2023-27561).
func checkRootfs(rootfs string) error {
	for _, name := range []string{"dev", "proc", "sys"} {
		info, err := os.Lstat(filepath.Join(rootfs, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err == nil && !info.IsDir() {
			return fmt.Errorf("refused: its /%s is not a directory", name)
		}
	}
	return nil
}
