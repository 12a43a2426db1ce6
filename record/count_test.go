package record_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/record"
)

// many makes records of 100 bytes each, one an hour, the newest of now, and has them looked at.
func many(t *testing.T, n int) (root string) {
	t.Helper()
	root = t.TempDir()
	for i := range n {
		add(t, root, fmt.Sprintf("old%06d", i), 100, time.Duration(n-1-i)*time.Hour)
	}
	if removed, err := record.Trim(root, record.Limits{}); removed != 0 || err != nil {
		t.Fatal(removed, err)
	}
	return root
}

func add(t *testing.T, root, run string, bytes int, age time.Duration) {
	t.Helper()
	dir := record.Folder(root, run)
	must(t, os.MkdirAll(dir, 0o700))
	for name, size := range map[string]int{"record.json": bytes, "log.ndjson": 0} {
		path, at := filepath.Join(dir, name), time.Now().Add(-age)
		must(t, os.WriteFile(path, make([]byte, size), 0o600))
		must(t, os.Chtimes(path, at, at))
	}
}

// TestALargeHistoryIsLookedAtOnlyWhenItIsBeyondALimit: what a killed process has left goes with each look, so
// whether it is still there tells of looks. All cases have the same history, in turn.
func TestALargeHistoryIsLookedAtOnlyWhenItIsBeyondALimit(t *testing.T) {
	root := many(t, 1100)
	count := record.Folder(root, ".count")
	for i, c := range []struct {
		name   string
		bytes  int                             // of the run that has ended
		limits func(records int) record.Limits // records: with that of the run
		damage func(t *testing.T)
		looked bool
		left   func(records int) int // nil: all
	}{
		{name: "no limits"},
		{name: "within all limits", limits: func(n int) record.Limits { return record.Limits{Runs: n, Age: 5000 * time.Hour, Bytes: 1e6} }},
		{name: "no count", damage: func(t *testing.T) { must(t, os.Remove(count)) }, looked: true},
		{name: "a damaged count", damage: func(t *testing.T) { must(t, os.WriteFile(count, []byte("7\n"), 0o600)) }, looked: true},
		{name: "a link in its place", damage: func(t *testing.T) {
			must(t, os.Rename(count, count+"ed"))
			must(t, os.Symlink(count+"ed", count))
		}, looked: true},
		{name: "a FIFO in its place", damage: func(t *testing.T) {
			must(t, os.Remove(count))
			must(t, unix.Mkfifo(count, 0o600))
		}, looked: true},
		{name: "one too many", limits: func(n int) record.Limits { return record.Limits{Runs: n - 1} }, looked: true,
			left: func(n int) int { return n - 1 - (n-1)/100 }},
		{name: "too old", limits: func(int) record.Limits { return record.Limits{Age: 1015 * time.Hour} }, looked: true,
			left: func(int) int { return 1005 + 8 }}, // those of an hour each, and what has ended until now
		{name: "too large", bytes: 50_000, limits: func(int) record.Limits { return record.Limits{Bytes: 100_000} }, looked: true,
			left: func(int) int { return 1 + 500 }},
		{name: "a small history", limits: func(n int) record.Limits { return record.Limits{Runs: n} }, looked: true},
		{name: "a small limit", limits: func(int) record.Limits { return record.Limits{Runs: 7} }, looked: true,
			left: func(int) int { return 7 }},
	} {
		rest, run := record.Folder(root, ".removed-rest"), fmt.Sprintf("new%02d", i)
		must(t, os.MkdirAll(rest, 0o700))
		if c.damage != nil {
			c.damage(t)
		}
		add(t, root, run, max(c.bytes, 100), 0)
		n := len(entries(t, root))
		var limits record.Limits
		if c.limits != nil {
			limits = c.limits(n)
		}
		removed, err := record.TrimAfter(root, run, limits)
		must(t, err)
		if _, err := os.Lstat(rest); os.IsNotExist(err) != c.looked {
			t.Errorf("%s: looked at all records: %v, want %v", c.name, os.IsNotExist(err), c.looked)
		}
		want := n
		if c.left != nil {
			want = c.left(n)
		}
		all := entries(t, root)
		if len(all) != want || removed != n-want {
			t.Errorf("%s: %d of %d left, %d removed; want %d left", c.name, len(all), n, removed, want)
		}
		if !slices.ContainsFunc(all, func(e record.Entry) bool { return e.Run == run }) {
			t.Errorf("%s: the newest record is gone", c.name)
		}
	}
}

// TestARunThatIsStillBeingClosedCountsAsEndedForItself alone: the records of others that have a folder stay.
func TestARunThatIsStillBeingClosedCountsAsEndedForItself(t *testing.T) {
	root := t.TempDir()
	for i := range 4 {
		add(t, root, fmt.Sprintf("old%d", i), 100, time.Duration(i+1)*time.Hour)
	}
	add(t, root, "own", 100, 0)
	for _, alive := range []string{"own", "old3"} {
		must(t, os.MkdirAll(filepath.Join(root, "runs", alive), 0o700))
	}
	if removed, err := record.TrimAfter(root, "own", record.Limits{Runs: 3}); err != nil || removed != 1 {
		t.Errorf("%d removed, %v", removed, err)
	}
	for run, want := range map[string]bool{"own": true, "old0": true, "old1": true, "old2": false, "old3": true} {
		if _, err := os.Lstat(record.Folder(root, run)); (err == nil) != want {
			t.Errorf("%s: %v", run, err)
		}
	}
}

func entries(t *testing.T, root string) []record.Entry {
	t.Helper()
	all, err := record.Entries(root)
	must(t, err)
	return all
}

// TestALargeHistoryStaysWithinItsLimits while runs end one after the other, and then many at once.
func TestALargeHistoryStaysWithinItsLimits(t *testing.T) {
	const limit = 1100
	root := many(t, limit)
	end := func(run string) {
		if _, err := record.TrimAfter(root, run, record.Limits{Runs: limit}); err != nil {
			t.Error(err)
		}
	}
	for i := range 25 {
		add(t, root, fmt.Sprintf("new%d", i), 100, 0)
		end(fmt.Sprintf("new%d", i))
		if n := len(entries(t, root)); n > limit || n < limit-limit/100 {
			t.Fatalf("%d records after run %d", n, i)
		}
	}
	var runs sync.WaitGroup
	for i := range 20 {
		add(t, root, fmt.Sprintf("at-once%d", i), 100, 0)
	}
	for i := range 20 {
		runs.Go(func() { end(fmt.Sprintf("at-once%d", i)) })
	}
	runs.Wait()
	add(t, root, "last", 100, 0)
	end("last")
	// Two may have missed each other when one began a new count while the other added to the old one.
	if n := len(entries(t, root)); n > limit+20 {
		t.Errorf("%d records left", n)
	}
}
