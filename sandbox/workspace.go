package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

// maxWorkspaceDepth bounds the descriptors that a tree made by a hostile step
// can hold open.
const maxWorkspaceDepth = 1000

// giveWorkspace gives what belongs to root in the step's workspace to its
// WorkspaceOwner: a step that runs as root would else leave files there that
// the user of the host cannot delete. What belongs to anybody else stays, and
// the group changes where it was root's.
//
// Nothing outside the workspace is touched. Links are given away, never
// followed; mounts inside it are left alone; and a file that has names outside
// of it too stays as it is, be it /etc/shadow under a second name. So does a
// device: a step may make the node of the host's disk, though not open it.
func giveWorkspace(step *Step) error {
	if step.WorkspaceOwner == nil || step.Workspace == "" {
		return nil
	}
	if _, ok := rootless.Inside(); ok {
		return nil // to the user who runs stepexec, and its they are
	}
	root, err := os.Open(step.Workspace)
	if err != nil {
		return fmt.Errorf("give the workspace to its owner: %w", err)
	}
	uid, gid, err := step.Security.owner(0, 0)
	if err != nil {
		return err
	}
	g := &giver{rootUID: uint32(uid), rootGID: uint32(gid), owner: *step.WorkspaceOwner, names: map[inode]uint64{}}
	err = g.tree(root, 0)
	if err == nil && len(g.names) > 0 {
		// Only now is it known which files have all of their names here.
		g.counted = true
		if root, err = os.Open(step.Workspace); err == nil {
			err = g.tree(root, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("give the workspace to its owner: %w", err)
	}
	return nil
}

type inode struct{ device, number uint64 }

type giver struct {
	rootUID, rootGID uint32 // of the step, on the host
	owner            Owner
	names            map[inode]uint64 // files with several names to how many of them are in the workspace
	counted          bool
}

// tree gives away a directory and what is in it, and closes it.
func (g *giver) tree(dir *os.File, depth int) error {
	defer dir.Close()
	if depth > maxWorkspaceDepth {
		return fmt.Errorf("%s: nested more than %d directories deep", dir.Name(), maxWorkspaceDepth)
	}
	if err := g.give(dir); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if err := g.entry(dir, name, depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry looks at a name first, which is all that is needed for most: a
// workspace has a hundred thousand files that never were root's.
func (g *giver) entry(dir *os.File, name string, depth int) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if err == nil && !isDir && st.Uid != g.rootUID {
		return nil
	}
	flags := unix.O_PATH
	if isDir {
		flags = unix.O_RDONLY | unix.O_DIRECTORY
	}
	var fd int
	if err == nil {
		fd, err = unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
	}
	path := filepath.Join(dir.Name(), name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil // gone, a mount, or changed by a service since the look
	case err != nil:
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	if isDir {
		return g.tree(file, depth+1)
	}
	defer file.Close()
	return g.give(file)
}

// give gives away one file by its descriptor, so that it is the one that was
// looked at.
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
