package record

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What Recent reads at most.
const (
	recentRuns  = 1000     // number of records
	recentBytes = 16 << 20 // bytes of all of them
)

// Recent reads the newest records of a state root, the newest first, within bounds, so that a report takes
// no longer where many are kept. Records that cannot be read do not count: these are for people to compare
// with.
func Recent(root string) []Record {
	entries, err := os.ReadDir(folder(root))
	if err != nil {
		return nil
	}
	type look struct {
		path    string
		written time.Time
		bytes   int64
	}
	var looks []look
	for _, entry := range entries {
		path := filepath.Join(folder(root), entry.Name())
		if info, err := os.Lstat(filepath.Join(path, recordFile)); err == nil && info.Mode().IsRegular() && !isRest(entry.Name()) {
			looks = append(looks, look{path, info.ModTime(), info.Size()})
		}
	}
	slices.SortFunc(looks, func(a, b look) int { return b.written.Compare(a.written) })
	var recent []Record
	var bytes int64
	for _, look := range looks[:min(len(looks), recentRuns)] {
		if bytes += look.bytes; bytes > recentBytes {
			break
		}
		if r, err := read(look.path); err == nil {
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
