package record_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/record"
)

// TestNoLinkLeadsOutOfTheRecords: root who looks at the state of another user must not read files that the
// user cannot.
func TestNoLinkLeadsOutOfTheRecords(t *testing.T) {
	root := t.TempDir()
	must(t, begin(t, root, "abc").Close())
	outside := t.TempDir()
	must(t, os.CopyFS(outside, os.DirFS(record.Folder(root, "abc"))))
	lists := func(run string) bool {
		all, err := listAll(root)
		for _, r := range all {
			if r.Run == run {
				return true
			}
		}
		_ = err // it names the record that cannot be read
		return false
	}
	if !lists("abc") {
		t.Fatal("the record itself is not listed")
	}
	must(t, os.Symlink(outside, record.Folder(root, "linked")))
	must(t, os.Mkdir(record.Folder(root, "file"), 0o700))
	must(t, os.Symlink(filepath.Join(outside, "record.json"), filepath.Join(record.Folder(root, "file"), "record.json")))
	must(t, os.Mkdir(record.Folder(root, "fifo"), 0o700))
	must(t, unix.Mkfifo(filepath.Join(record.Folder(root, "fifo"), "record.json"), 0o600))
	for _, run := range []string{"linked", "file", "fifo", "../history/abc", "..", ".", "abc/../abc"} {
		if r, err := record.Find(root, run); err == nil {
			t.Errorf("Find(%q) found %q", run, r.Run)
		}
	}
	for _, r := range record.Recent(root) {
		if r.Run != "abc" {
			t.Errorf("Recent has %q", r.Run)
		}
	}

	r, err := record.Find(root, "abc")
	must(t, err)
	log := filepath.Join(record.Folder(root, "abc"), "log.ndjson")
	must(t, os.Remove(log))
	must(t, os.Symlink(filepath.Join(outside, "log.ndjson"), log))
	if err := r.ReadLog(context.Background(), nil, func([]byte) error { return nil }); err == nil {
		t.Error("a log outside of the records was read")
	}
}

// TestWhatIsTooLargeIsNotRead: a file with a hole takes no room on the disk, and all of it in memory.
func TestWhatIsTooLargeIsNotRead(t *testing.T) {
	root := t.TempDir()
	for run, file := range map[string]string{"record": "record.json", "log": "log.ndjson"} {
		must(t, begin(t, root, run).Close())
		must(t, os.Truncate(filepath.Join(record.Folder(root, run), file), 1<<40))
	}
	if _, err := record.Find(root, "record"); err == nil || !strings.Contains(err.Error(), "it is too large") {
		t.Errorf("the record: %v", err)
	}
	r, err := record.Find(root, "log")
	must(t, err)
	if err := r.ReadLog(context.Background(), nil, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), "it is too large") {
		t.Errorf("a line of the log: %v", err)
	}
}

func TestALogIsReadAsItGrows(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	must(t, w.Close())
	file, err := os.OpenFile(filepath.Join(record.Folder(root, "abc"), "log.ndjson"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	r, err := record.Find(root, "abc")
	must(t, err)
	log, err := r.OpenLog()
	must(t, err)
	defer log.Close()
	var running []string
	read := func(text string) (ended bool) {
		t.Helper()
		_, err := file.WriteString(text)
		must(t, err)
		ended, err = log.Read(func(line []byte) (err error) {
			running, err = record.StillRunning(running, line)
			return err
		})
		must(t, err)
		return ended
	}
	const time = `{"time":"2026-11-23T12:00:00Z",`
	read(time + `"kind":"step_started","step":"a"}` + "\n" + time + `"kind":"step_st`)
	if len(running) != 1 || running[0] != "a" {
		t.Errorf("running: %q", running)
	}
	read(`arted","step":"b"}` + "\n" + time + `"kind":"step_finished","step":"a"}` + "\n")
	if len(running) != 1 || running[0] != "b" {
		t.Errorf("running: %q", running)
	}
	if !read(time + `"kind":"run_finished"}` + "\n") {
		t.Error("the end of the log was not seen")
	}
	size, err := log.Size()
	must(t, err)
	if info, err := file.Stat(); err != nil || info.Size() != size {
		t.Errorf("the size is %d, not %v", size, info)
	}
}
