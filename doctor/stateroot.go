package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// stateRoot checks who may read and change the files that steps are made of, and the file system
// that they lie on.
func (m *Machine) stateRoot(context.Context) Result {
	dir, exists := m.existing()
	info, err := os.Stat(dir)
	if err != nil {
		return fail(err.Error(), "")
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fail(fmt.Sprintf("stat %s: %v", dir, err), "")
	}
	switch {
	case !info.IsDir():
		return fail(dir+" is no directory", "name another with --root")
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		return fail(fmt.Sprintf("%s cannot be written to by user %d", dir, m.UID), "name another with --root")
	case exists && int(st.Uid) != m.UID:
		return warn(fmt.Sprintf("%s belongs to user %d, who can change what steps run", dir, st.Uid), fmt.Sprintf("chown %d %s", m.UID, dir))
	case exists && info.Mode().Perm()&0o022 != 0:
		return warn(fmt.Sprintf("%s has mode %#o: others can change what steps run", dir, info.Mode().Perm()), "chmod go-w "+dir)
	}
	return m.fileSystem(dir)
}

// fileSystem reports the file system of the state root. Some file systems cannot hold layers.
func (m *Machine) fileSystem(dir string) Result {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fail(fmt.Sprintf("statfs %s: %v", dir, err), "")
	}
	const another = "name a directory on ext4, xfs or btrfs with --root"
	switch {
	case fs.Flags&unix.ST_RDONLY != 0:
		return fail(m.Root+" is on a read-only file system", another)
	case fs.Type == unix.OVERLAYFS_SUPER_MAGIC:
		return fail(m.Root+" is on overlayfs, as in a container; the kernel refuses overlays above it", "mount a volume or a tmpfs there")
	case fs.Type == unix.NFS_SUPER_MAGIC || fs.Type == unix.SMB_SUPER_MAGIC || uint32(fs.Type) == unix.CIFS_SUPER_MAGIC || fs.Type == unix.FUSE_SUPER_MAGIC:
		return warn(m.Root+" is on a network file system or FUSE: owners, attributes or overlays may be refused", another)
	case fs.Type == unix.TMPFS_MAGIC:
		return warn(m.Root+" is on tmpfs: images take up memory and are gone with it", another)
	}
	return ok(m.Root + " on " + fileSystemName(uint32(fs.Type)))
}

func fileSystemName(magic uint32) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	}
	return fmt.Sprintf("a file system of type %#x", magic)
}

// existing returns the state root, or the directory in which it would be created.
func (m *Machine) existing() (dir string, exists bool) {
	root, err := filepath.Abs(m.Root)
	if err != nil {
		root = m.Root
	}
	for dir = root; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return dir, dir == root
}

// Below these, an image of usual size cannot be unpacked.
const (
	leastBytes  = 2 << 30
	leastInodes = 50_000
)

func (m *Machine) diskSpace(context.Context) Result {
	dir, _ := m.existing()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fail(fmt.Sprintf("statfs %s: %v", dir, err), "")
	}
	return judgeSpace(int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Ffree), fs.Files > 0)
}

func judgeSpace(bytes, inodes int64, counted bool) Result {
	detail := units.BytesSize(float64(bytes)) + " free"
	if counted { // btrfs creates inodes as needed and reports 0
		detail += fmt.Sprintf(", %d inodes", inodes)
	}
	const remedy = "stepexec prune --all"
	switch {
	case bytes < 64<<20 || counted && inodes < 1000:
		return fail(detail, remedy)
	case bytes < leastBytes || counted && inodes < leastInodes:
		return warn(detail+": too little for larger images", remedy)
	}
	return ok(detail)
}

// leftovers counts runs whose process is gone: their lock is free.
func (m *Machine) leftovers(context.Context) Result {
	runs := filepath.Join(m.Root, "runs")
	entries, err := os.ReadDir(runs)
	if errors.Is(err, os.ErrNotExist) {
		return ok("none")
	}
	if err != nil {
		return warn(err.Error(), "")
	}
	dead := 0
	for _, entry := range entries {
		if isDead(filepath.Join(runs, entry.Name())) {
			dead++
		}
	}
	if dead > 0 {
		return warn(fmt.Sprintf("left below %s by runs that died: %d", runs, dead), "stepexec gc clears it away, as the next run does")
	}
	return ok(fmt.Sprintf("none; %d runs are alive", len(entries)))
}

func isDead(run string) bool {
	file, err := os.Open(run)
	if err != nil {
		return false // it has just ended
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return false
	}
	_, err = os.Lstat(run) // it may have been removed in between
	return err == nil
}

// erofs checks for EROFS images, a faster way to store layers where the kernel can mount them.
func (m *Machine) erofs(context.Context) Result {
	if !m.isRoot() {
		return ok("not for normal users: layers are kept as directories")
	}
	dir, _ := m.existing()
	if err := erofs.Supported(dir); err != nil {
		return ok(fmt.Sprintf("no, layers are kept as directories (%v)", err))
	}
	return ok("images that are files can be mounted")
}
