package record_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stepexec/stepexec/record"
)

// listAll reads all records of a state root.
func listAll(root string) (all []record.Record, failed error) {
	for r, err := range record.NewestFirst(root) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		all = append(all, r)
	}
	return all, failed
}

// keepAt makes the record of a run that began and ended so many minutes after noon.
func keepAt(t *testing.T, root, run string, began, ended int) {
	t.Helper()
	at := func(minute int) time.Time { return time.Date(2026, 11, 23, 12, minute, 0, 0, time.UTC) }
	data, err := json.Marshal(record.Record{Run: run, Started: at(began)})
	must(t, err)
	path := filepath.Join(record.Folder(root, run), "record.json")
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, data, 0o600))
	must(t, os.Chtimes(path, at(ended), at(ended)))
}

func TestNewestFirstIsTheOrderOfTheRunsStarts(t *testing.T) {
	root := t.TempDir()
	var want []string
	for i := range 100 {
		keepAt(t, root, fmt.Sprintf("run%02d", 99-i), 200-2*i, 200-2*i+1)
		want = append(want, fmt.Sprintf("run%02d", 99-i))
	}
	// Each of these was written later than runs that began after it.
	keepAt(t, root, "long", 1, 300)
	keepAt(t, root, "half", 101, 150)
	var got []string
	for r, err := range record.NewestFirst(root) {
		must(t, err)
		got = append(got, r.Run)
	}
	want = append(want[:50:50], append([]string{"half"}, want[50:]...)...)
	want = append(want, "long")
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestNewestFirstReadsWhatItYieldsAndLittleMore(t *testing.T) {
	root := t.TempDir()
	for i := range 100 {
		keepAt(t, root, fmt.Sprintf("run%02d", i), 2*i, 2*i+1)
	}
	damage := func(run string, minute int) {
		path := filepath.Join(record.Folder(root, run), "record.json")
		must(t, os.WriteFile(path, []byte("{"), 0o600))
		at := time.Date(2026, 11, 23, 12, minute, 0, 0, time.UTC)
		must(t, os.Chtimes(path, at, at))
	}
	damage("run50", 101)
	failed, n := 0, 0
	for _, err := range record.NewestFirst(root) {
		if err != nil {
			failed++
		} else if n++; n == 10 {
			break
		}
	}
	if failed != 0 || n != 10 {
		t.Errorf("%d records, %d errors: it has read far more than ten records", n, failed)
	}
	failed, n = 0, 0
	for _, err := range record.NewestFirst(root) {
		if err != nil {
			failed++
		} else {
			n++
		}
	}
	if failed != 1 || n != 99 {
		t.Errorf("%d records and %d errors of all", n, failed)
	}
}

func TestNewestFirstOfNoRecordsIsNothing(t *testing.T) {
	for r, err := range record.NewestFirst(t.TempDir()) {
		t.Errorf("%v, %v", r, err)
	}
}
