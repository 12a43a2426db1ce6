package unpack

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A tree writes the entries of one layer into a directory that nobody else uses. Every system call names a
// single component relative to the descriptor of its parent, and openBeneath is the only way to a parent.
//
// Directories are 0700 and ours until finish: a setgid bit or a default ACL that a layer gives a directory
// must not leak into the files made in it.
type tree struct {
	layer  digest.Digest
	root   int
	open   *openDirs
	budget *budget
	umask  uint32 // permissions that a new file does not get
	uid    int    // owner of the files this process makes
	gid    int
	buf    []byte // see buffer

	writers writers // of the files' content

	dirs      map[string]*dirState // every directory, the root as ""
	links     map[string]string    // hard links into lower layers; a placeholder file holds their place
	whiteouts map[string]bool      // paths that .wh. files name
	opaque    map[string]bool      // directories with an opaque marker
	notes     notes                // complete after finish
}

// A dirState is a directory of the layer.
type dirState struct {
	declared *metadata // nil: implied by an entry in it
	opaque   bool      // hides the content of lower layers
	fresh    bool      // has nothing to do with a lower directory of its name: it does not get its metadata
}

// newTree returns a tree that writes into path, an empty directory; a small one without goroutines. Release it
// with close.
func newTree(layer digest.Digest, path string, limits Limits, small bool) (*tree, error) {
	root, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := &tree{
		layer: layer, root: root, open: newOpenDirs(), budget: &budget{limits: limits, fd: root},
		umask: processUmask(), uid: os.Geteuid(), gid: os.Getegid(),
		dirs: map[string]*dirState{"": {}}, links: map[string]string{},
		whiteouts: map[string]bool{}, opaque: map[string]bool{},
	}
	t.writers = writers{tree: t, inline: small}
	// A store below a setgid directory inherited its group, and its ACLs below one with a default ACL.
	err = errors.Join(unix.Fchown(root, t.uid, t.gid), removeACLs(root), unix.Fchmod(root, 0o700), t.budget.checkSpace(0))
	if err != nil {
		t.close()
		return nil, fmt.Errorf("prepare %s: %w", path, err)
	}
	return t, nil
}

func (t *tree) close() {
	_ = t.writers.wait() // after an error: extract has waited already, and knows of theirs
	t.open.close()
	_ = unix.Close(t.root) // a directory has nothing to flush
}

func removeACLs(fd int) error {
	for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := unix.Fremovexattr(fd, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return failed("remove "+name, err)
		}
	}
	return nil
}

// processUmask returns the umask of this process, or all permissions when it cannot be read; it cannot be asked for
// without changing it.
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

// buffer returns memory for content that the tree itself writes or copies.
func (t *tree) buffer() []byte {
	if t.buf == nil {
		t.buf = make([]byte, 256<<10)
	}
	return t.buf
}

// dir returns a descriptor of the directory and makes it, and those above it, when the layer has none there.
// The descriptor stays the tree's and is good until two more have been asked for.
func (t *tree) dir(path string) (int, error) {
	if path == "" {
		return t.root, nil
	}
	if fd, ok := t.open.get(path); ok {
		return fd, nil
	}
	if t.dirs[path] == nil {
		if err := t.mkdir(path); err != nil {
			return -1, err
		}
	}
	fd, err := openBeneath(t.root, path, unix.O_PATH)
	if err != nil {
		return -1, failed("open directory", err)
	}
	t.open.put(path, fd)
	return fd, nil
}

func (t *tree) mkdir(path string) error {
	parentPath, base := split(path)
	parent, err := t.dir(parentPath)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(parent, base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		return t.notDirectory(parent, base)
	}
	if err != nil {
		return failed("create directory", err)
	}
	if err := t.budget.entry(); err != nil {
		return err
	}
	if path, err = t.budget.keep(path); err != nil {
		return err
	}
	t.dirs[path] = &dirState{}
	return nil
}

// notDirectory explains why no entry can lie below base.
func (t *tree) notDirectory(parent int, base string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return failed("stat", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return errSymlink
	}
	return unix.ENOTDIR
}

// parent returns the directory that path lies in, made when it is missing, and path's last component.
func (t *tree) parent(path string) (fd int, base string, err error) {
	dir, base := split(path)
	fd, err = t.dir(dir)
	return fd, base, err
}

// replace calls create, which must not overwrite, and when something is in the way removes that first: the
// last entry of a name wins.
func (t *tree) replace(path string, create func(parent int, base string) error) error {
	parent, base, err := t.parent(path)
	if err != nil {
		return err
	}
	err = create(parent, base)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.remove(parent, path); err != nil {
		return failed("replace", err)
	}
	return create(parent, base)
}

// remove removes path, which lies in parent, with everything below it.
func (t *tree) remove(parent int, path string) error {
	_, base := split(path)
	if t.dirs[path] == nil {
		delete(t.links, path)
		return unix.Unlinkat(parent, base, 0)
	}
	names, fd, err := readDir(parent, base)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, name := range names {
		if err := t.remove(fd, path+"/"+name); err != nil {
			return err
		}
	}
	t.open.drop(path)
	delete(t.dirs, path)
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

// readDir lists the directory and leaves it open.
func readDir(parent int, base string) (names []string, fd int, err error) {
	fd, err = unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, -1, err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n == 0 {
			if err != nil {
				_ = unix.Close(fd)
				fd = -1
			}
			return names, fd, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// warn records what could not be kept. The number is bounded: a layer of a million odd files is one problem.
func (t *tree) warn(format string, args ...any) {
	const most = 20
	if len(t.notes.Warnings) < most {
		t.notes.Warnings = append(t.notes.Warnings, fmt.Sprintf(format, args...))
	}
}
