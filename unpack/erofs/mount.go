package erofs

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Mount mounts the image that is the file at path, which the caller trusts, read-only, without device files and
// setuid. The mount is attached nowhere: fd is its root directory, opened with O_PATH, and the mount ends when that
// is closed and nothing uses it. /proc/self/fd/N is a path too.
//
// Every mount has a page cache of its own, beside that of the file: mount an image once and share the mount.
//
// The error tells what the kernel lacks, if that is why; see Supported.
func Mount(path string) (fd int, err error) {
	fd, err = mount(path)
	if err != nil {
		return -1, fmt.Errorf("mount image %s: %w", path, explain(err))
	}
	return fd, nil
}

// MountAt mounts the image at path as Mount does, and attaches the mount to the directory dir, where it stays until
// it is unmounted. A symbolic link in place of dir is not followed.
func MountAt(path, dir string) error {
	fd, err := Mount(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount image %s at %s: %w", path, dir, err)
	}
	return nil
}

func mount(path string) (fd int, err error) {
	const maxOption = 255 // fsconfig(2) takes no longer strings
	if len(path) > maxOption {
		image, err := os.Open(path)
		if err != nil {
			return -1, err
		}
		defer image.Close()
		path = descriptorPath(image)
	}
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", path); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	return fd, os.NewSyscallError("fsmount", err)
}

// explain adds what the kernel means and what to do.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the kernel has no erofs (CONFIG_EROFS_FS; modprobe erofs)", err)
	case errors.Is(err, unix.ENOTBLK):
		return fmt.Errorf("%w: this kernel or file system mounts no images from files (Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE does, on ext4, xfs, btrfs)", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: mounting needs CAP_SYS_ADMIN", err)
	}
	return err
}

// Supported returns what keeps this kernel or this process from mounting images that are files in dir, nil when
// nothing does. It tries: it writes a small image there, mounts it and reads it. The file has lost its name by then,
// so that nothing is left, whatever happens.
func Supported(dir string) error {
	if err := tryImage(dir); err != nil {
		return fmt.Errorf("try an image in %s: %w", dir, err)
	}
	return nil
}

func tryImage(dir string) error {
	image, err := os.CreateTemp(dir, ".erofs-*")
	if err != nil {
		return err
	}
	defer image.Close()
	if err := os.Remove(image.Name()); err != nil {
		return err
	}
	const content = "erofs"
	w := NewWriter(image)
	w.write([]byte(content))
	file := &Inode{Mode: unix.S_IFREG | 0o600, Content: w.EndFile()}
	if err := w.Finish(&Inode{Mode: unix.S_IFDIR | 0o700, Entries: map[string]*Inode{"file": file}}); err != nil {
		return err
	}
	root, err := Mount(descriptorPath(image))
	if err != nil {
		return err
	}
	defer unix.Close(root)
	return readBack(root, "file", content)
}

func descriptorPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

func readBack(root int, name, want string) error {
	fd, err := unix.Openat(root, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a file of the mount: %w", err)
	}
	defer unix.Close(fd)
	got := make([]byte, len(want)+1)
	n, err := unix.Pread(fd, got, 0)
	if err != nil {
		return fmt.Errorf("read a file of the mount: %w", err)
	}
	if string(got[:n]) != want {
		return fmt.Errorf("read a file of the mount: got %q, want %q", got[:n], want)
	}
	return nil
}
