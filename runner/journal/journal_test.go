package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/runner/journal"
)

func TestLeftAreTheWholeRecordsOfRunnersThatHaveEnded(t *testing.T) {
	root := t.TempDir()
	f, err := journal.Open(root, "server", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Begin("../1")
	if err != nil {
		t.Fatal(err)
	}
	e.Add("lost")
	e.Replace("one")
	e.Add("two")
	if left, err := f.Left(); err != nil || len(left) > 0 {
		t.Errorf("of a runner that lives: %v, %v", left, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(root, "runner", "*", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	data, err := os.ReadFile(files[0])
	if err == nil {
		err = os.WriteFile(files[0], append(data, `"cut of`...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"one" "two"`, `"one" "two" "three"`} {
		left, err := f.Left()
		if err != nil || len(left) != 1 {
			t.Fatal(left, err)
		}
		got := ""
		for _, r := range left[0].Records {
			got += string(r)
		}
		if got = strings.Join(strings.Fields(got), " "); got != want {
			t.Error(got)
		}
		left[0].Add("three")
		if want != `"one" "two"` {
			err = left[0].Remove()
		} else {
			err = left[0].Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	if left, err := f.Left(); err != nil || len(left) > 0 {
		t.Errorf("removed: %v, %v", left, err)
	}
	other, err := journal.Open(root, "another server", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if left, err := other.Left(); err != nil || len(left) > 0 {
		t.Errorf("of another server: %v, %v", left, err)
	}
}

func TestFilesWithoutARecordAreRemoved(t *testing.T) {
	root := t.TempDir()
	f, err := journal.Open(root, "server", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one takes the place of the first
		e, err := f.Begin("poll")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left, err := f.Left()
	if files, _ := filepath.Glob(filepath.Join(root, "runner", "*", "*")); err != nil || len(left) > 0 || len(files) > 0 {
		t.Errorf("%v, %v, files %v", left, err, files)
	}
}

func TestFilesThatAKillLeftWithoutTheirNameAreRemoved(t *testing.T) {
	root := t.TempDir()
	f, err := journal.Open(root, "server", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Begin("1")
	if err != nil {
		t.Fatal(err)
	}
	e.Add("kept")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	kept, _ := filepath.Glob(filepath.Join(root, "runner", "*", "*"))
	if len(kept) != 1 {
		t.Fatal(kept)
	}
	folder := filepath.Dir(kept[0])
	for path, text := range map[string]string{
		filepath.Join(folder, "0123.jsonl.new"): "",       // of Begin
		kept[0] + ".new":                        "\"half", // of Replace
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left, err := f.Left()
	if err != nil || len(left) != 1 || string(left[0].Records[0]) != "\"kept\"\n" {
		t.Fatalf("%v, %v", left, err)
	}
	if err := left[0].Close(); err != nil {
		t.Error(err)
	}
	if files, _ := filepath.Glob(filepath.Join(folder, "*")); len(files) != 1 || files[0] != kept[0] {
		t.Error(files)
	}
}
