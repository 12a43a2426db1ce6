package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Folder takes the artifacts of a run, each in a folder of its own name. It may be used by
// several goroutines.
type Folder struct {
	path string
	most int64 // bytes of all artifacts together; 0: no limit
	root *os.Root
	top  inode // of the folder, or of the one that it is a Sub of

	mu   sync.Mutex        // guards the rest
	used int64             // bytes
	sums map[string]string // SHA-256 of the files by ARTIFACT/PATH; nil: not asked for
}

// Open opens a folder, made when missing, for the artifacts of a run. From then on, nobody can
// replace it by a link. most bounds the bytes of all artifacts together; 0 is no limit. Close
// must be called.
func Open(path string, perm os.FileMode, most int64) (*Folder, error) {
	if err := os.MkdirAll(path, perm); err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	top, err := inodeOf(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Folder{path: path, most: most, root: root, top: top}, nil
}

// inode tells files of the machine apart.
type inode struct{ device, number uint64 }

func inodeOf(root *os.Root) (inode, error) {
	info, err := root.Stat(".")
	if err != nil {
		return inode{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return inode{st.Dev, st.Ino}, nil
}

// Sub opens a folder in this one, made when missing.
func (f *Folder) Sub(name string) (*Folder, error) {
	if err := f.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := f.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	sub := &Folder{path: filepath.Join(f.path, name), most: f.most, root: root, top: f.top}
	if f.summing() {
		sub.Sum()
	}
	return sub, nil
}

// Sum has the folder make digests of the files that it takes from now on.
func (f *Folder) Sum() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sums = map[string]string{}
}

// Sums returns the SHA-256 of each file, in hexadecimal, by ARTIFACT/PATH: of what was copied,
// whatever has become of the copy.
func (f *Folder) Sums() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sums)
}

// Close releases the folder, which stays on the disk.
func (f *Folder) Close() error { return f.root.Close() }

// Path is the folder's path.
func (f *Folder) Path() string { return f.path }

// Has reports whether something has the name already.
func (f *Folder) Has(name string) (bool, error) {
	_, err := f.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Collected says what an artifact has.
type Collected struct {
	Files   int
	Bytes   int64
	LeftOut []string // paths of links that lead to a folder, to nothing, or out of the workspace; at most 10
	Links   int      // number of those links
}

// Collect copies what the patterns match in the workspace to the folder name. The folder appears
// when it is whole, or not at all; without any match there is none.
func (f *Folder) Collect(ctx context.Context, workspace *os.File, name string, p Patterns, l Limits) (_ Collected, err error) {
	if err := f.inPlace(); err != nil {
		return Collected{}, err
	}
	part := ".part-" + name // no name begins with a dot
	into, unlock, err := f.begin(part)
	if err != nil {
		return Collected{}, err
	}
	defer unlock()
	defer into.Close()
	defer func() {
		if removeErr := f.root.RemoveAll(part); removeErr != nil {
			err = errors.Join(err, removeErr)
		}
	}()
	made, err := inodeOf(into)
	if err != nil {
		return Collected{}, err
	}
	c := &collection{ctx: ctx, workspace: workspace, into: into, own: [2]inode{f.top, made}, patterns: p, limits: l.orDefault(), seen: map[string]bool{}}
	if f.summing() {
		c.sums = map[string]string{}
	}
	if left, bounded := f.left(); bounded && left < c.limits.Bytes {
		c.limits.Bytes, c.ofRun = left, f.most
	}
	if err := c.all(); err != nil {
		return Collected{}, err
	}
	if c.files == 0 {
		return c.Collected(), nil
	}
	if err := f.take(c.bytes); err != nil {
		return Collected{}, err
	}
	if taken, err := f.Has(name); err != nil || taken {
		return Collected{}, errors.Join(err, fmt.Errorf("%s is already in %s", name, f.path))
	}
	if err := f.root.Rename(part, name); err != nil {
		return c.Collected(), err
	}
	f.keepSums(name, c.sums)
	return c.Collected(), nil
}

func (f *Folder) summing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sums != nil
}

// keepSums notes the digests of an artifact's files.
func (f *Folder) keepSums(name string, sums map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, sum := range sums {
		f.sums[name+"/"+file] = sum
	}
}

// begin makes a folder for an artifact that is not whole yet, and locks it. It replaces one that a
// killed run has left, which nobody has locked.
func (f *Folder) begin(part string) (into *os.Root, unlock func() error, err error) {
	if old, unlock, err := f.lock(part); err == nil {
		err = errors.Join(f.root.RemoveAll(part), old.Close(), unlock())
		if err != nil {
			return nil, nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if err := f.root.Mkdir(part, 0o755); err != nil {
		return nil, nil, err
	}
	return f.lock(part)
}

// lock locks a folder below this one for this process.
func (f *Folder) lock(name string) (_ *os.Root, unlock func() error, err error) {
	dir, err := f.root.OpenRoot(name)
	if err != nil {
		return nil, nil, err
	}
	file, err := dir.Open(".")
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("another run collects into %s: %w", filepath.Join(f.path, name), err), file.Close(), dir.Close())
	}
	return dir, file.Close, nil
}

// inPlace returns an error if the folder no longer has its path: what goes there could not be
// found.
func (f *Folder) inPlace() error {
	mine, err := f.root.Stat(".")
	if err != nil {
		return err
	}
	there, err := os.Lstat(f.path)
	if err != nil || !os.SameFile(mine, there) {
		return fmt.Errorf("the folder %s was removed or replaced since the run began (name one that no step touches)", f.path)
	}
	return nil
}

// left is how many bytes the folder still takes, if it has a limit.
func (f *Folder) left() (bytes int64, bounded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most - f.used, f.most > 0
}

// take counts bytes against the limit of the folder.
func (f *Folder) take(bytes int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 0 && bytes > f.most-f.used {
		return fmt.Errorf("with its %d bytes the run would have more than %d bytes of artifacts", bytes, f.most)
	}
	f.used += bytes
	return nil
}

// Read takes a regular file that Each has found. It must not keep the content and must bound what it takes of it.
type Read func(name string, info fs.FileInfo, content io.Reader) error

// Each hands every regular file that the patterns match to read, once. It returns the patterns that match none.
// Links out of the workspace are left out, as in Collect. An error of read ends it.
func Each(ctx context.Context, workspace *os.File, p Patterns, l Limits, read Read) (unmatched []string, err error) {
	l = l.orDefault()
	c := &collection{ctx: ctx, workspace: workspace, patterns: p, limits: l, seen: map[string]bool{}, read: read}
	err = c.all()
	return c.unmatched, err
}
