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

// TrimAfter trims the records after a run has written its own, as Trim does; the run's folder may still be
// there. Where there are many, it looks at them only when a count says that they may be beyond the limits.
func TrimAfter(root, run string, l Limits) (removed int, err error) {
	if own, err := look(filepath.Join(folder(root), run)); err == nil {
		if c, err := addToCount(root, own.bytes); err == nil && c.within(l) {
			return 0, nil
		}
	}
	return trim(root, run, l)
}

// Trim removes the oldest records until the others are within the limits, and whatever a
// killed Trim has left. It leaves the records of runs that still have a folder: they are
// alive, or not cleared away yet. Of many records it removes a hundredth more than it has to, so that not
// every run has to look at all of them. Several processes may trim at once.
func Trim(root string, l Limits) (removed int, err error) { return trim(root, "", l) }

// trim is Trim, for which the run named ended has no folder any more.
func trim(root, ended string, l Limits) (removed int, err error) {
	all, err := lookAtAll(root, ended)
	failed := []error{err}
	left := l.choose(all)
	if len(left) < len(all) && len(left) >= few {
		left = l.lowered().choose(all)
	}
	for _, k := range all[len(left):] {
		failed = append(failed, remove(k.path))
		removed++
	}
	failed = append(failed, saveCount(root, left))
	if err := errors.Join(failed...); err != nil {
		return removed, fmt.Errorf("remove old records: %w", err)
	}
	return removed, nil
}

// lookAtAll lists the records of runs that have no folder any more, and of the one named ended. It removes what
// a killed Trim has left.
func lookAtAll(root, ended string) (all []kept, err error) {
	entries, err := os.ReadDir(folder(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	failed := []error{err}
	for _, entry := range entries {
		path := filepath.Join(folder(root), entry.Name())
		if entry.Name() == countFile {
			continue
		}
		if isRest(entry.Name()) {
			failed = append(failed, os.RemoveAll(path))
			continue
		}
		if entry.Name() != ended {
			if _, err := os.Lstat(filepath.Join(root, "runs", entry.Name())); err == nil {
				continue
			}
		}
		k, err := look(path)
		if err == nil {
			all = append(all, k)
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return all, errors.Join(failed...)
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

// choose sorts the records, the newest first, and returns the ones to keep: those before the first that is
// beyond a limit.
func (l Limits) choose(all []kept) []kept {
	slices.SortFunc(all, func(a, b kept) int { return b.written.Compare(a.written) })
	var bytes int64
	for i, k := range all {
		bytes += k.bytes
		if l.Runs > 0 && i >= l.Runs || l.Bytes > 0 && bytes > l.Bytes || l.Age > 0 && time.Since(k.written) > l.Age {
			return all[:i]
		}
	}
	return all
}

// lowered returns limits that are lower by a hundredth.
func (l Limits) lowered() Limits {
	return Limits{Runs: l.Runs - l.Runs/100, Age: l.Age - l.Age/100, Bytes: l.Bytes - l.Bytes/100}
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
