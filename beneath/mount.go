package beneath

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Mount mounts an open file or directory at target, with all that is mounted
// below it. What has the opened file's name afterwards does not change the mount.
//
// The mounts are made private twice: before they have a place, so that taking
// them away never takes away the host's own; and after, because a shared place
// makes them shared, and taking them away would take them from the container.
func Mount(file *os.File, target string) error { return mount(file, target, nil) }

// MountMapped is Mount, with the ids of a user namespace for the file system of the opened file,
// though not for what is mounted below it; see mount_setattr(2).
func MountMapped(file *os.File, target string, namespace *os.File) error {
	return mount(file, target, namespace)
}

func mount(file *os.File, target string, namespace *os.File) error {
	tree, err := unix.OpenTree(int(file.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", file.Name(), err)
	}
	defer unix.Close(tree)
	makePrivate := func() error {
		return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE})
	}
	if err := makePrivate(); err != nil {
		return fmt.Errorf("mount_setattr %s: %w (directories of the workspace can be mounted with Linux 5.12 and newer)", file.Name(), err)
	}
	if namespace != nil {
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(namespace.Fd())}
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
			return fmt.Errorf("mount_setattr %s: %w", file.Name(), err)
		}
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", target, err)
	}
	if err := makePrivate(); err != nil {
		return fmt.Errorf("mount_setattr %s: %w", target, err)
	}
	return nil
}
