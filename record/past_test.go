package record_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
)

func TestPastIsTheEndedRunsOfThePipelineBefore(t *testing.T) {
	root, start := t.TempDir(), time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	keep := func(run string, after time.Duration, change func(*record.Record)) record.Record {
		t.Helper()
		r := record.Record{Run: run, Name: "ci", File: "/src/ci.yml", Cell: "A=1", Started: start.Add(after), Finished: true, Summary: &event.Summary{Run: run}}
		if change != nil {
			change(&r)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		dir := record.Folder(root, run)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "record.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, r.Started, r.Started); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range 5 {
		keep(fmt.Sprint("run", i), time.Duration(i)*time.Minute, nil)
	}
	of := keep("this", time.Hour, nil)
	keep("later", 2*time.Hour, nil)
	keep("other-file", 0, func(r *record.Record) { r.File = "/src/other.yml" })
	keep("other-name", 0, func(r *record.Record) { r.Name = "other" })
	keep("other-cell", 0, func(r *record.Record) { r.Cell = "A=2" })
	keep("goes-on", 0, func(r *record.Record) { r.Finished, r.Summary = false, nil })
	if err := os.WriteFile(filepath.Join(record.Folder(root, "run3"), "record.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int]string{3: "[run4 run2 run1]", 30: "[run4 run2 run1 run0]", 0: "[]"} {
		var got []string
		for _, r := range record.PastOf(&of, record.Recent(root), most) {
			got = append(got, r.Run)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("at most %d: %v, not %s", most, got, want)
		}
	}
	of.File = ""
	if past := record.PastOf(&of, record.Recent(root), 30); len(past) > 0 {
		t.Errorf("a run without a file has a past: %v", past)
	}
	if recent := record.Recent(filepath.Join(root, "nowhere")); len(recent) > 0 {
		t.Errorf("no records, but %v", recent)
	}
}
