package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits bound the records that are kept. A zero field sets no limit.
type Limits struct {
	Runs  int           // number of records
	Age   time.Duration // time since a record was last written to
	Bytes int64         // bytes of all records together, and of each log
}

// kept is what Trim knows of a record. It takes only three looks at the disk.
type kept struct {
	path    string
	written time.Time
	bytes   int64
}

// restPrefix begins the names of records that are being removed.
const restPrefix = ".removed-"

func isRest(name string) bool { return strings.HasPrefix(name, ".") }

// Trim removes the oldest records until the others are within the limits, and whatever a
// killed Trim has left. It leaves the records of runs that still have a folder: they are
// alive, or not cleared away yet. Several processes may trim at once.
func Trim(root string, l Limits) (removed int, err error) {
	entries, err := os.ReadDir(folder(root))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("remove old records: %w", err)
	}
	var all []kept
	var failed []error
	for _, entry := range entries {
		path := filepath.Join(folder(root), entry.Name())
		if isRest(entry.Name()) {
			failed = append(failed, os.RemoveAll(path))
			continue
		}
		if _, err := os.Lstat(filepath.Join(root, "runs", entry.Name())); err == nil {
			continue
		}
		k, err := look(path)
		if err == nil {
			all = append(all, k)
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	for _, path := range l.choose(all) {
		failed = append(failed, remove(path))
		removed++
	}
	if err := errors.Join(failed...); err != nil {
		return removed, fmt.Errorf("remove old records: %w", err)
	}
	return removed, nil
}

func look(path string) (kept, error) {
	k := kept{path: path}
	for _, name := range []string{recordFile, logFile} {
		info, err := os.Lstat(filepath.Join(path, name))
		if err != nil {
			if info, err = os.Lstat(path); err != nil { // its creation was never finished
				return k, err
			}
		}
		k.bytes += info.Size()
		if info.ModTime().After(k.written) {
			k.written = info.ModTime()
		}
	}
	if text, err := os.ReadFile(filepath.Join(path, sizeFile)); err == nil {
		if bytes, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			k.bytes += bytes
		}
	}
	return k, nil
}

// choose returns the records to remove, the newest first.
func (l Limits) choose(all []kept) (paths []string) {
	slices.SortFunc(all, func(a, b kept) int { return b.written.Compare(a.written) })
	var bytes int64
	for i, k := range all {
		bytes += k.bytes
		if l.Runs > 0 && i >= l.Runs || l.Bytes > 0 && bytes > l.Bytes || l.Age > 0 && time.Since(k.written) > l.Age {
			paths = append(paths, k.path)
		}
	}
	return paths
}

// remove first makes a record disappear as a whole, and then removes its files.
func remove(path string) error {
	rest := filepath.Join(filepath.Dir(path), restPrefix+filepath.Base(path))
	if err := os.Rename(path, rest); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process removed it
		}
		return err
	}
	return os.RemoveAll(rest)
}
