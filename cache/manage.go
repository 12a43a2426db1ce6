package cache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// List returns all entries, the last used first.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	unlock, err := s.lock(ctx, unix.LOCK_SH, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.list()
}

func (s *Store) list() ([]Entry, error) {
	dirs, err := filepath.Glob(filepath.Join(s.dir, entriesDir, "*", "*"))
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, dir := range dirs {
		entries, err := readEntries(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return b.Used.Compare(a.Used) })
	return all, nil
}

// Choice chooses entries to remove from those that there are, the last used first.
type Choice func(all []Entry) []Entry

// Beyond chooses entries until the data of the others are no more than most bytes: each time the one
// of the largest share that was not used for the longest time.
func Beyond(most int64) Choice {
	return func(all []Entry) (chosen []Entry) {
		var total int64
		bytes, shares := map[string]int64{}, map[string][]Entry{}
		for _, e := range all {
			share := cmp.Or(e.Share, e.Scope)
			total += e.Packed
			bytes[share] += e.Packed
			shares[share] = append(shares[share], e)
		}
		largest := func(a, b string) int { return cmp.Or(cmp.Compare(bytes[a], bytes[b]), strings.Compare(a, b)) }
		for total > most && len(shares) > 0 {
			share := slices.MaxFunc(slices.Collect(maps.Keys(shares)), largest)
			last := len(shares[share]) - 1
			e := shares[share][last]
			chosen, total, bytes[share] = append(chosen, e), total-e.Packed, bytes[share]-e.Packed
			if shares[share] = shares[share][:last]; last == 0 {
				delete(shares, share)
			}
		}
		return chosen
	}
}

// Unused chooses entries that were not used for a time.
func Unused(since time.Duration) Choice {
	return func(all []Entry) []Entry {
		return slices.DeleteFunc(all, func(e Entry) bool { return time.Since(e.Used) < since })
	}
}

// Remove removes entries, and data that no entry has. It waits until no run uses the store.
func (s *Store) Remove(ctx context.Context, choose Choice) (removed []Entry, err error) {
	unlock, err := s.lock(ctx, unix.LOCK_EX, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := s.list()
	if err != nil {
		return nil, err
	}
	removed = choose(slices.Clone(all))
	for _, e := range removed {
		if err := removeIfThere(e.path); err != nil {
			return nil, err
		}
	}
	return removed, s.sweep()
}

// sweep removes data that no entry has, and what killed processes have left. The store is locked
// exclusively, so that nobody is adding anything.
func (s *Store) sweep() error {
	left, err := s.list()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, e := range left {
		needed[filepath.Base(s.data(e.Digest))] = true
	}
	files, err := os.ReadDir(filepath.Join(s.dir, dataDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var failed []error
	for _, file := range files {
		if !needed[file.Name()] {
			failed = append(failed, removeIfThere(filepath.Join(s.dir, dataDir, file.Name())))
		}
	}
	temps, err := filepath.Glob(filepath.Join(s.dir, entriesDir, "*", "*", tempPrefix+"*"))
	for _, temp := range temps {
		failed = append(failed, removeIfThere(temp))
	}
	return errors.Join(append(failed, err)...)
}

// Damaged is an entry whose data are not what was saved.
type Damaged struct {
	Entry
	Why error
}

// Verify reads the data of all entries, and returns those that are damaged.
func (s *Store) Verify(ctx context.Context) (checked int, damaged []Damaged, err error) {
	unlock, err := s.lock(ctx, unix.LOCK_SH, false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer unlock()
	all, err := s.list()
	for _, e := range all {
		if ctx.Err() != nil {
			return checked, damaged, context.Cause(ctx)
		}
		if why := s.check(&e); why != nil {
			damaged = append(damaged, Damaged{e, why})
		}
		checked++
	}
	return checked, damaged, err
}

func (s *Store) check(e *Entry) error {
	file, err := os.Open(s.data(e.Digest))
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != e.Digest {
		return fmt.Errorf("the data have the digest %s, not %s", got, e.Digest)
	}
	return nil
}

// IsCalled reports whether a text names the entry: its name, or the beginning of its ID.
func (e *Entry) IsCalled(text string) bool {
	return e.Name == text || strings.HasPrefix(e.ID(), text)
}
