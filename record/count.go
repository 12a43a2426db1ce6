package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// few is the number of records up to which each run looks at all of them: that takes some 10 ms. The
	// limits of larger histories are looked at with a count, which costs each run the same.
	few = 1000
	// countFile holds the count, in the folder of the records. Its name begins like those of records that are
	// being removed, so that nobody takes it for one.
	countFile = ".count"
)

// A count is what the last look at a large history found, and what has come since: its first line is that of
// the look, and every run that ended later has added one with its bytes. Runs add without a lock, and one that
// ends during a look may be counted twice or not at all; the next look puts that right.
type count struct {
	looked int // records that the last look left
	runs   int // records
	bytes  int64
	oldest time.Time // when the oldest was last written to
}

// within reports whether no record is beyond the limits, as far as the count can tell. A count of which more
// than a tenth is new is too old.
func (c count) within(l Limits) bool {
	return (l.Runs == 0 || c.runs <= l.Runs) && (l.Bytes == 0 || c.bytes <= l.Bytes) &&
		(l.Age == 0 || time.Since(c.oldest) <= l.Age) && c.runs-c.looked <= c.looked/10
}

// addToCount adds a record to the count and returns the whole. The error says that there is none, or that it
// cannot be read; then only a look can tell.
func addToCount(root string, bytes int64) (c count, err error) {
	path := filepath.Join(folder(root), countFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return count{}, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return count{}, fmt.Errorf("%s is not a file", path)
	}
	if _, err := fmt.Fprintln(file, bytes); err != nil {
		return count{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return count{}, err
	}
	text := bufio.NewReader(io.LimitReader(file, maxRecord))
	var oldest int64
	if _, err := fmt.Fscanln(text, &c.looked, &c.bytes, &oldest); err != nil {
		return count{}, fmt.Errorf("read %s: %w", path, err)
	}
	c.runs, c.oldest = c.looked, time.Unix(oldest, 0)
	for {
		var added int64
		switch _, err := fmt.Fscanln(text, &added); err {
		case nil:
			c.runs++
			c.bytes += added
		case io.EOF:
			return c, nil
		default:
			return count{}, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// saveCount begins a new count with the records that a look has left. A small history needs none.
func saveCount(root string, left []kept) error {
	path := filepath.Join(folder(root), countFile)
	if len(left) < few {
		if _, err := os.Lstat(path); err != nil {
			return nil
		}
		return gone(os.Remove(path))
	}
	oldest, bytes := left[0].written, int64(0)
	for _, k := range left {
		bytes += k.bytes
		if k.written.Before(oldest) {
			oldest = k.written
		}
	}
	file, err := os.CreateTemp(folder(root), countFile+"-") // a killed process's is removed by the next look
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, len(left), bytes, oldest.Unix())
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error is the one to report
	}
	return gone(err)
}

// gone returns nil for a file that another look at the same time has removed.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
