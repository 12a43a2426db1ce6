package record

import (
	"errors"
	"io/fs"
	"iter"
	"slices"
	"time"
)

const (
	// fewest is the least number of records that NewestFirst reads at once.
	fewest = 16
	// clockSlack covers the times of files, which may lag behind the clock that a run looks at by a
	// tick, and small corrections of that clock.
	clockSlack = time.Second
)

// NewestFirst yields the records below a state root, that of the run that began last first, and,
// somewhere between them, an error for each record that it could not read. It reads no more records than it needs for those
// that it yields, because there may be many. A record is written when its run begins, and again when
// the run ends, so a record that was last written before a run began is that of an earlier run.
func NewestFirst(root string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		unread, err := Entries(root)
		if err != nil {
			yield(Record{}, err)
			return
		}
		var waiting []Record // as long as an unread record may be that of a run that began later
		for len(unread) > 0 {
			batch := unread[:min(len(unread), max(fewest, len(waiting)))]
			unread = unread[len(batch):]
			for _, entry := range batch {
				r, err := entry.Read()
				switch {
				case err == nil:
					waiting = append(waiting, r)
				case errors.Is(err, fs.ErrNotExist): // removed at this moment
				case !yield(Record{}, err):
					return
				}
			}
			slices.SortStableFunc(waiting, func(a, b Record) int { return b.Started.Compare(a.Started) })
			for len(waiting) > 0 && (len(unread) == 0 || waiting[0].Started.After(unread[0].Written.Add(clockSlack))) {
				if !yield(waiting[0], nil) {
					return
				}
				waiting = waiting[1:]
			}
		}
	}
}
