// Package journal keeps on disk what a runner has still to tell its server, so that neither the
// end of the runner nor an outage of the server loses it. What is written there is masked
// already: it is what the server gets.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Folder has a file for each build of one runner.
type Folder struct {
	path string
	warn func(error)
}

// Open makes the folder of a runner below root, which only its owner can read. The identity
// tells runners with the same root apart: it names the server and the runner. The first
// failure to write a file goes to warn at once, because it cannot end the build.
func Open(root, identity string, warn func(error)) (*Folder, error) {
	sum := sha256.Sum256([]byte(identity))
	f := &Folder{path: filepath.Join(root, "runner", hex.EncodeToString(sum[:8])), warn: warn}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return nil, fmt.Errorf("folder for results: %w", err)
	}
	return f, nil
}

// Entry is the file of one build. A nil Entry keeps nothing. Its methods may be called at the
// same time.
type Entry struct {
	mu    sync.Mutex
	file  *os.File // locked while the runner lives; nil: closed
	isNew bool     // a power loss can still take the file's name away
	size  int64    // bytes
	err   error    // first failure, after which nothing is written
	warn  func(error)
}

// Begin makes the file of a build, in place of one of the same name. The caller calls Close or
// Remove.
func (f *Folder) Begin(name string) (*Entry, error) {
	sum := sha256.Sum256([]byte(name)) // a server chooses the name
	path := filepath.Join(f.path, hex.EncodeToString(sum[:16])+".jsonl")
	folder, err := holdFolder(f.path, unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	defer folder.Close()
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep results: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Rename(path+".new", path) // only now can Left see it: it is locked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep results: %s: %w", path, err), file.Close())
	}
	return &Entry{file: file, isNew: true, warn: f.warn}, nil
}

// Add appends records. After the first failure nothing is written any more.
func (e *Entry) Add(records ...any) {
	e.whileSound(func() { e.write(records) })
}

// whileSound calls what writes the file, unless it is closed or a failure came before.
func (e *Entry) whileSound(write func()) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil || e.err != nil {
		return
	}
	if write(); e.err != nil {
		e.warn(fmt.Errorf("keep results: %w (they are lost if the runner ends before the server has them)", e.err))
	}
}

func (e *Entry) write(records []any) {
	var text []byte
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			e.err = err
			return
		}
		text = append(append(text, line...), '\n')
	}
	n, err := e.file.Write(text)
	e.size += int64(n)
	if err != nil {
		e.err = err
	}
}

// Sync waits until everything that was added survives a power loss. A failure is as one of Add.
func (e *Entry) Sync() {
	e.whileSound(func() {
		e.err = e.file.Sync()
		if e.err == nil && e.isNew {
			e.err, e.isNew = syncFolder(e.path()), false
		}
	})
}

// syncFolder makes the names in the folder of a file survive a power loss.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// holdFolder locks a folder until the file that it returns is closed. Whoever makes a file there
// shares the lock until the file has its name; removeUnfinished excludes them.
func holdFolder(path string, how int) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), dir.Close())
	}
	return dir, nil
}

// Size is the length of the file, in bytes.
func (e *Entry) Size() int64 {
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.size
}

// Replace puts records in the place of all that is in the file. A reader finds the old ones or
// the new ones.
func (e *Entry) Replace(records ...any) {
	e.whileSound(func() { e.replace(records) })
}

func (e *Entry) replace(records []any) {
	old, path, size := e.file, e.path(), e.size
	folder, err := holdFolder(filepath.Dir(path), unix.LOCK_SH)
	if err != nil {
		e.err = err
		return
	}
	defer folder.Close()
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		e.err = err
		return
	}
	e.file, e.size = file, 0
	e.write(records)
	if e.err == nil {
		e.err = errors.Join(file.Sync(), unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB), os.Rename(path+".new", path), syncFolder(path))
	}
	if e.err == nil {
		e.err = old.Close()
		return
	}
	e.file, e.size = old, size // whose lock says that the runner lives
	e.err = errors.Join(e.err, file.Close())
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.err = errors.Join(e.err, err)
	}
}

// Close leaves the file to the next start of the runner.
func (e *Entry) Close() error { return e.end(false) }

// Remove removes the file: the server knows everything.
func (e *Entry) Remove() error { return e.end(true) }

func (e *Entry) end(remove bool) error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return nil
	}
	var err error
	if remove {
		err = os.Remove(e.path())
	}
	err = errors.Join(err, e.file.Close())
	e.file = nil
	return err
}

// path is where the file is; after Replace its name was that of the new file.
func (e *Entry) path() string {
	name := e.file.Name()
	if filepath.Ext(name) == ".new" {
		return name[:len(name)-len(".new")]
	}
	return name
}

// Left is the file of a build whose runner has ended.
type Left struct {
	*Entry
	Records [][]byte // in the order in which they were added; one that was cut off is left out
}

// Left returns what earlier runners have left. The caller calls Close or Remove for each. Files
// of runners that live are not among them.
func (f *Folder) Left() ([]Left, error) {
	paths, err := filepath.Glob(filepath.Join(f.path, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var all []Left
	errs := []error{f.removeUnfinished()}
	for _, path := range paths {
		l, err := f.open(path)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, fmt.Errorf("results of an earlier runner: %w", err))
		case len(l.Records) == 0: // its runner has ended before there was anything to keep
			errs = append(errs, l.Remove())
		default:
			all = append(all, l)
		}
	}
	return all, errors.Join(errs...)
}

// removeUnfinished removes files that never got their name because their runner was killed. What
// they were to replace is still there. While another runner makes a file, all of them stay until
// the next start.
func (f *Folder) removeUnfinished() error {
	folder, err := holdFolder(f.path, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("results of an earlier runner: %w", err)
	}
	defer folder.Close()
	paths, err := filepath.Glob(filepath.Join(f.path, "*.jsonl.new"))
	errs := []error{err}
	for _, path := range paths {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

func (f *Folder) open(path string) (Left, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return Left{}, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return Left{}, errors.Join(err, file.Close())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Left{}, errors.Join(err, file.Close())
	}
	var records [][]byte
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) || !json.Valid(line) {
			break
		}
		records = append(records, line)
	}
	kept := 0
	for _, r := range records {
		kept += len(r)
	}
	if err := file.Truncate(int64(kept)); err != nil { // what is added follows a whole record
		return Left{}, errors.Join(err, file.Close())
	}
	return Left{Entry: &Entry{file: file, size: int64(kept), warn: f.warn}, Records: records}, nil
}
