package unpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/unpack/erofs"
)

// A Store is a directory of unpacked layers. Its methods may be called from several goroutines, and several
// processes may use one directory.
type Store struct {
	Limits Limits // for layers unpacked from now on; set it before the first Unpack
	Format Format // of layers unpacked from now on; "" is FormatAuto. Set it before the first Unpack
	Stays  bool   // images stay mounted between runs (see erofs.Kept), which decides what FormatAuto is

	root   string
	look   bool // nothing may be changed, see LookAt
	bootID string
	mu     sync.Mutex
	held   map[string]*os.File // see hold.go
	disk   *disk               // nil for a Store that is only read

	mountable func() error // whether layers that are images can be used here
}

const (
	fsDir         = "fs"         // the overlay lower directory
	notesFile     = "layer.json" // written last: a directory without it is not a finished layer
	unsettledFile = "unsettled"  // holds the boot id while the layer may be only in the page cache
	sizeFile      = "size"       // size on disk in bytes, written when first asked for

	fixupPrefix = "fixup-" // prefix of the keys of fix-up layers; keys of layers have none
)

// OpenStore opens the store at root and creates whatever is missing, private to the user (0700):
// layers hold setuid files that other users of the machine must not reach. It removes the
// unfinished work of dead processes.
func OpenStore(root string) (*Store, error) {
	s, err := newStore(root)
	if err != nil {
		return nil, err
	}
	s.mountable = sync.OnceValue(func() error { return erofs.Supported(filepath.Join(s.root, "tmp")) })
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return nil, fmt.Errorf("open layer store: %w", err)
	}
	for _, dir := range []string{"layers", "layers/sha256", "tmp", "locks", "fixups", "images"} {
		if err := privateDir(filepath.Join(s.root, dir)); err != nil {
			return nil, fmt.Errorf("open layer store: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("open layer store %s: remove unfinished work: %w", s.root, err)
	}
	dir, err := os.Open(s.root)
	if err != nil {
		return nil, fmt.Errorf("open layer store: %w", err)
	}
	s.disk = &disk{dir: dir}
	return s, nil
}

// LookAt opens the store at root for Usage and LayerBytes alone. They then change nothing: no
// directory is made, no unfinished work removed, and no size written. It does not try to mount
// anything either, so layers that are images count as usable.
func LookAt(root string) (*Store, error) {
	s, err := newStore(root)
	if err != nil {
		return nil, err
	}
	s.look, s.mountable = true, func() error { return nil }
	return s, nil
}

func newStore(root string) (*Store, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open layer store %s: %w", root, err)
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("open layer store %s: read boot id: %w", root, err)
	}
	return &Store{root: abs, bootID: strings.TrimSpace(string(bootID)), held: map[string]*os.File{}}, nil
}

// privateDir makes sure that path is a directory of this user with mode 0700. A directory that
// someone else owns, or a link to one, would let them replace verified files.
func privateDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, not to uid %d: choose another directory", path, st.Uid, os.Geteuid())
	}
	if st.Mode&0o7777 == 0o700 {
		return nil
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// sweep removes the temporary directories whose locks are free: their owners are dead.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(filepath.Join(s.root, "tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		unlock, ok, err := s.tryLock(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = beneath.RemoveAll(filepath.Join(s.root, "tmp", e.Name()))
		if errors.Is(err, unix.EROFS) {
			err = nil // a read-only store can still be read
		}
		if err := errors.Join(err, unlock()); err != nil {
			return err
		}
	}
	return nil
}

// Has reports whether the layer is in the store, verified and safe on disk or written since the last boot.
func (s *Store) Has(diffID digest.Digest) bool {
	return validate(diffID) == nil && s.trusted(s.layerDir(diffID))
}

// Warnings lists what the store could not keep of the layer, such as xattrs that its file system
// refuses.
func (s *Store) Warnings(diffID digest.Digest) ([]string, error) {
	if err := validate(diffID); err != nil {
		return nil, err
	}
	n, err := readNotes(s.layerDir(diffID))
	return n.Warnings, err
}

// validate accepts only well-formed sha256 digests. A digest becomes part of a path:
// "sha256:../../etc" must not get that far.
func validate(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: only sha256 is supported", string(d))
	}
	return nil
}

func (s *Store) layerDir(diffID digest.Digest) string {
	return filepath.Join(s.root, "layers", "sha256", diffID.Encoded())
}

func (s *Store) fixupDir(chainID digest.Digest) string {
	return filepath.Join(s.root, "fixups", chainID.Encoded())
}

// trusted reports whether dir is a finished layer that can be used. A layer whose marker is from
// another boot may have lost data in a power loss, and so may one whose marker cannot be read.
func (s *Store) trusted(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, notesFile)); err != nil {
		return false
	}
	if isImage(lowerdir(dir)) && s.mountable() != nil {
		return false
	}
	marker, err := os.ReadFile(filepath.Join(dir, unsettledFile))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && string(marker) == s.bootID
}

// build creates the layer directory: fill writes it under a temporary name, and then it is renamed.
// One process does the work; others that come in the meantime wait and then find it. The directory
// is held afterwards.
func (s *Store) build(ctx context.Context, key, final string, fill func(tmp string) error) (built bool, err error) {
	if held, err := s.hold(final); held || err != nil {
		return false, err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if held, err := s.hold(final); held || err != nil {
		return false, err
	}
	tmp := filepath.Join(s.root, "tmp", key)
	if err := discard(tmp, final); err != nil {
		return false, err
	}
	committed := false
	defer func() {
		if !committed {
			err = errors.Join(err, beneath.RemoveAll(tmp))
		}
	}()
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return false, err
	}
	if err := fill(tmp); err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(tmp, unsettledFile), []byte(s.bootID), 0o600); err != nil {
		return false, err
	}
	if err := os.Rename(tmp, final); err != nil {
		return false, err
	}
	committed = true
	// Nobody can have removed it: that would take the lock that is still held here.
	_, err = s.hold(final)
	return true, err
}

// discard removes whatever a dead process left in tmp, and the directory final if it is not
// trusted.
func discard(tmp, final string) error {
	if err := beneath.RemoveAll(tmp); err != nil {
		return err
	}
	err := os.Rename(final, tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, beneath.RemoveAll(tmp))
}
