package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/rootless"
)

// giveWorkspace gives root's files in the step's workspace to its WorkspaceOwner: a step that runs
// as root would otherwise leave files there that the user of the host cannot delete. Files of other
// users stay theirs, and the group changes only where it was root's.
//
// It touches nothing outside the workspace. It changes the owner of links but never follows them,
// and skips mounts. It skips a file that also has names outside the workspace, because it may be
// /etc/shadow under a second name. It skips devices, because a step may create the node of the
// host's disk, though not open it.
func giveWorkspace(step *Step) error {
	if step.WorkspaceOwner == nil || step.Workspace == "" {
		return nil
	}
	if _, ok := rootless.Inside(); ok {
		return nil // the step's root is the user who runs stepexec, so the files are already theirs
	}
	root, err := os.Open(step.Workspace)
	if err != nil {
		return fmt.Errorf("give the workspace to its owner: %w", err)
	}
	defer root.Close()
	uid, gid, err := hostOwner(&step.Security, 0, 0)
	if err != nil {
		return err
	}
	g := &giver{rootUID: uint32(uid), rootGID: uint32(gid), owner: *step.WorkspaceOwner, names: map[inode]uint64{}}
	walk := func() error { return beneath.Walk(root, beneath.Visitor{Enter: g.give, Entry: g.entry}) }
	err = walk()
	if err == nil && len(g.names) > 0 {
		// Only now is it known which files have all of their names here.
		g.counted = true
		err = walk()
	}
	if err != nil {
		return fmt.Errorf("give the workspace to its owner: %w", err)
	}
	return nil
}

// inode identifies a file.
type inode struct{ device, number uint64 }

type giver struct {
	rootUID, rootGID uint32 // ids of the step's root on the host
	owner            Owner
	names            map[inode]uint64 // for files with several names, the number of names in the workspace
	counted          bool             // names is complete
}

// entry changes the owner of anything other than a directory. It first looks at a name, which is
// enough for most files: a workspace has a hundred thousand files that never belonged to root.
func (g *giver) entry(dir *os.File, name string) (enter bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return true, nil
	}
	if err == nil && st.Uid != g.rootUID {
		return false, nil
	}
	var fd int
	if err == nil {
		fd, err = unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
	}
	path := filepath.Join(dir.Name(), name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV):
		return false, nil // it is gone, or is a mount
	case err != nil:
		return false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	return false, g.give(file)
}

// give changes the owner of one file through its descriptor, so that it is the file that was
// checked.
func (g *giver) give(file *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: file.Name(), Err: err}
	}
	kind, which := st.Mode&unix.S_IFMT, inode{st.Dev, st.Ino}
	if st.Uid != g.rootUID || kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		return nil
	}
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		if !g.counted {
			g.names[which]++
			return nil
		}
		if g.names[which] != uint64(st.Nlink) {
			return nil
		}
	}
	gid := -1
	if st.Gid == g.rootGID {
		gid = int(g.owner.GID)
	}
	if err := unix.Fchownat(int(file.Fd()), "", int(g.owner.UID), gid, unix.AT_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "chown", Path: file.Name(), Err: err}
	}
	return nil
}
