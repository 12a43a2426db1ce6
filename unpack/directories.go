package unpack

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

// directories is the sink that writes files into a directory that no other process uses. Every
// system call names a single component relative to the descriptor of its parent, and openBeneath is
// the only way to reach a parent.
//
// Directories have mode 0700 and belong to this process until finishDir: a setgid bit or a default
// ACL that a layer gives a directory must not leak into the files made in it.
type directories struct {
	layer  digest.Digest // for errors
	root   int
	open   *openDirs
	budget *budget
	warn   warner
	umask  uint32 // permission bits removed from new files
	uid    int    // owner of the files that this process makes
	gid    int
	buf    []byte // see buffer

	writers writers // write the files' content
}

// newDirectories writes into the new directory path. The files of a small layer are written without
// goroutines.
func newDirectories(layer digest.Digest, path string, b *budget, small bool, warn warner) (*directories, error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	root, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := &directories{
		layer: layer, root: root, open: newOpenDirs(), budget: b, warn: warn,
		umask: processUmask(), uid: os.Geteuid(), gid: os.Getegid(),
	}
	d.writers = writers{layer: layer, apply: d.applyFile, inline: small}
	// A store below a setgid directory inherits its group, and below a directory with a default ACL
	// its ACLs.
	err = errors.Join(unix.Fchown(root, d.uid, d.gid), removeACLs(root), unix.Fchmod(root, 0o700))
	if err != nil {
		d.close()
		return nil, fmt.Errorf("prepare %s: %w", path, err)
	}
	return d, nil
}

func (d *directories) close() {
	_ = d.writers.wait() // after an error: the tree has already waited and has the writers' error
	d.open.close()
	_ = unix.Close(d.root) // a directory has nothing to flush
}

func (d *directories) wait() error         { return d.writers.wait() }
func (d *directories) failed() bool        { return d.writers.failed.Load() }
func (d *directories) commit(*notes) error { return nil }

func removeACLs(fd int) error {
	for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := unix.Fremovexattr(fd, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return failed("remove "+name, err)
		}
	}
	return nil
}

// processUmask returns the umask of this process, or all permission bits when it cannot be read.
// The system call that returns the umask also changes it.
func processUmask() uint32 {
	const all = 0o777
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return all
	}
	_, rest, found := strings.Cut(string(status), "\nUmask:\t")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(line, 8, 32)
	if !found || err != nil {
		return all
	}
	return uint32(mask)
}

// buffer returns memory for content that is written immediately.
func (d *directories) buffer() []byte {
	if d.buf == nil {
		d.buf = make([]byte, 256<<10)
	}
	return d.buf
}

// dir returns a descriptor of the directory. The sink owns it, and it stays valid until dir has
// been called twice more.
func (d *directories) dir(path string) (int, error) {
	if path == "" {
		return d.root, nil
	}
	if fd, ok := d.open.get(path); ok {
		return fd, nil
	}
	fd, err := openBeneath(d.root, path, unix.O_PATH)
	if err != nil {
		return -1, failed("open directory", err)
	}
	d.open.put(path, fd)
	return fd, nil
}

// parent returns the directory that path lies in and path's last component.
func (d *directories) parent(path string) (fd int, base string, err error) {
	dir, base := split(path)
	fd, err = d.dir(dir)
	return fd, base, err
}

func (d *directories) mkdir(path string) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	return unix.Mkdirat(parent, base, 0o700)
}

func (d *directories) symlink(path string, m metadata, target string) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(target, parent, base); err != nil {
		return err
	}
	return d.applyAt(path, m, false)
}

func (d *directories) node(path string, m metadata, kind uint32, dev uint64) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	err = unix.Mknodat(parent, base, kind|0o600, int(dev))
	if errors.Is(err, unix.EPERM) && (kind == unix.S_IFCHR || kind == unix.S_IFBLK) && rootless.InNamespace() {
		d.warn("its device nodes are left out: in a user namespace they cannot be made")
		return nil
	}
	if err != nil {
		return err
	}
	return d.applyAt(path, m, true)
}

func (d *directories) whiteout(path string) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	return unix.Mknodat(parent, base, unix.S_IFCHR, 0)
}

func (d *directories) link(path, target string) error {
	dir, from := split(target)
	source, err := d.dir(dir)
	if err != nil {
		return err
	}
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	return unix.Linkat(source, from, parent, base, 0)
}

func (d *directories) kind(path string) (uint32, error) {
	parent, base, err := d.parent(path)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st.Mode & unix.S_IFMT, err
}

func (d *directories) readlink(path string) (string, error) {
	parent, base, err := d.parent(path)
	if err != nil {
		return "", err
	}
	target := make([]byte, pathMax)
	n, err := unix.Readlinkat(parent, base, target)
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

func (d *directories) names(path string) ([]string, error) {
	fd, err := openBeneath(d.root, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	names, err := dir.Readdirnames(-1)
	return names, errors.Join(err, dir.Close())
}

func (d *directories) remove(path string, dir bool) error {
	parent, base, err := d.parent(path)
	if err != nil {
		return err
	}
	if !dir {
		return unix.Unlinkat(parent, base, 0)
	}
	d.open.drop(path)
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

// finishDir gives a directory its metadata.
func (d *directories) finishDir(path string, m metadata, opaque bool) error {
	fd, err := openBeneath(d.root, path, unix.O_RDONLY)
	if err != nil {
		return failed("open directory", err)
	}
	defer unix.Close(fd)
	if err := d.applyFd(fd, path, m); err != nil {
		return err
	}
	if opaque {
		if err := unix.Fsetxattr(fd, opaqueXattr(), []byte("y"), 0); err != nil {
			return failed("mark opaque", err)
		}
	}
	return m.setTimes(fd, ".")
}

var _ sink = (*directories)(nil)
