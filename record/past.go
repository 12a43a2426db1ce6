package record

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stepexec/stepexec/event"
)

// What Recent reads at most.
const (
	recentRuns  = 1000     // number of records
	recentBytes = 16 << 20 // bytes of all of them
)

// Entry is a record that was not read yet.
type Entry struct {
	Run     string    // ID of the run
	Written time.Time // when the record was written last, except for its log
	Bytes   int64     // size of the record without its log
	path    string
}

// Read reads the record.
func (e Entry) Read() (Record, error) { return read(e.path) }

// Entries lists the records of a state root, the last written first. It opens none of them.
func Entries(root string) ([]Entry, error) {
	dirs, err := os.ReadDir(folder(root))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, dir := range dirs {
		path := filepath.Join(folder(root), dir.Name())
		if info, err := os.Lstat(filepath.Join(path, recordFile)); err == nil && !isRest(dir.Name()) {
			all = append(all, Entry{dir.Name(), info.ModTime(), info.Size(), path})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return b.Written.Compare(a.Written) })
	return all, nil
}

// Recent reads the newest records of a state root, the newest first, within bounds, so that a report takes
// no longer where many are kept. Records that cannot be read do not count: these are for people to compare
// with.
func Recent(root string) []Record {
	entries, err := Entries(root)
	if err != nil {
		return nil
	}
	var recent []Record
	var bytes int64
	for _, entry := range entries[:min(len(entries), recentRuns)] {
		if bytes += entry.Bytes; bytes > recentBytes {
			break
		}
		if r, err := entry.Read(); err == nil {
			recent = append(recent, r)
		}
	}
	slices.SortFunc(recent, func(a, b Record) int { return b.Started.Compare(a.Started) })
	return recent
}

// PastOf returns the runs of a run's pipeline that began before it and have ended, in the order of all, and
// at most so many: those with its file, name and cell. A run without a file has none.
func PastOf(of *Record, all []Record, most int) (past []Record) {
	for i := range all {
		if len(past) < most && of.File != "" && all[i].isPastOf(of) {
			past = append(past, all[i])
		}
	}
	return past
}

// isPastOf reports whether a run is an earlier one of the same pipeline, and has ended.
func (r *Record) isPastOf(of *Record) bool {
	return r.Finished && r.Summary != nil && r.File == of.File && r.Name == of.Name && r.Cell == of.Cell && r.Started.Before(of.Started)
}

// Past returns the runs of a run's pipeline that began before it, the newest first and at most so many, from the
// records that Recent has read.
func Past(root string, recent []Record, run string, most int) (past []event.Earlier) {
	of, err := Find(root, run)
	if err != nil || of.Run != run {
		return nil // such as one whose record could not be kept
	}
	for _, r := range PastOf(&of, recent, most) {
		past = append(past, event.Earlier{Summary: *r.Summary, Started: r.Started, Commit: r.Build.TestedCommit()})
	}
	return past
}
