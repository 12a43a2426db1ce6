package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func line(text string) event.Event {
	return event.Event{Time: time.Unix(1, 5).UTC(), Kind: event.Line, Step: "build", Stream: event.Stdout, Text: text}
}

func begin(t *testing.T, root, run string) *record.Writer {
	t.Helper()
	w, err := record.Create(root, record.Record{Run: run, Name: "ci", Started: time.Now(), Steps: []record.StepRecord{{Name: "build", Image: "alpine"}}}, 0)
	must(t, err)
	return w
}

func finished(run string) event.Event {
	return event.Event{Kind: event.RunFinished, Summary: &event.Summary{
		Run: run, Status: event.Failed, ExitCode: 3, Duration: event.Millis(1500 * time.Millisecond),
		Steps: []event.StepResult{{Step: "build", Status: event.Failed, ExitCode: 3, Usage: &event.Usage{User: event.Millis(time.Second)}}},
	}}
}

func events(t *testing.T, r record.Record) []event.Event {
	t.Helper()
	var all []event.Event
	must(t, r.ReadLog(t.Context(), nil, func(line []byte) error {
		e, err := record.Decode(line)
		all = append(all, e)
		return err
	}))
	return all
}

func TestRecordTellsThePlanTheEventsAndTheEnd(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	told := []event.Event{{Kind: event.StepStarted, Step: "build"}, line("plain"), line("\x1b[31m\"red\"\\ \u2028 <é>"), line(""), finished("abc")}
	for _, e := range told {
		w.Event(e)
	}
	must(t, w.Close())
	r, err := record.Find(root, "ab")
	must(t, err)
	if diff := cmp.Diff(told, events(t, r)); diff != "" {
		t.Errorf("log (-told +read):\n%s", diff)
	}
	if !r.Finished || r.Name != "ci" || r.Steps[0].Image != "alpine" {
		t.Errorf("record %+v", r)
	}
	if diff := cmp.Diff(finished("abc").Summary, r.Summary); diff != "" {
		t.Errorf("summary (-told +read):\n%s", diff)
	}
}

func TestRecordIsForItsOwnerAlone(t *testing.T) {
	root := t.TempDir()
	must(t, begin(t, root, "abc").Close())
	must(t, filepath.WalkDir(filepath.Join(root, "history"), func(path string, entry os.DirEntry, err error) error {
		must(t, err)
		info, err := entry.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}

func TestRecordOfARunThatDiedIsReadable(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	w.Event(event.Event{Kind: event.StepStarted, Step: "build"})
	w.Event(line("the last that is whole"))
	must(t, w.Close()) // without an end
	log, err := os.OpenFile(filepath.Join(root, "history", "abc", "log.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = log.WriteString(`{"time":"2026-01-01T00:00:00Z","kind":"line","te`)
	must(t, errors.Join(err, log.Close()))
	r, err := record.Find(root, "abc")
	must(t, err)
	if r.Finished || r.Summary != nil {
		t.Errorf("record %+v of a run that died", r)
	}
	if got := events(t, r); len(got) != 2 || got[1].Text != "the last that is whole" {
		t.Errorf("events %+v", got)
	}
	running, err := r.Running()
	must(t, err)
	if diff := cmp.Diff([]string{"build"}, running); diff != "" {
		t.Errorf("running:\n%s", diff)
	}
}

func TestFindTakesTheBeginningOfOneID(t *testing.T) {
	root := t.TempDir()
	for _, run := range []string{"abc1", "abd2", "abd"} {
		must(t, begin(t, root, run).Close())
	}
	for _, c := range []struct {
		prefix, want string
		err          error
	}{
		{"abc", "abc1", nil},
		{"abd", "abd", nil}, // all of an ID, though another one begins with it
		{"abd2", "abd2", nil},
		{"ab", "", record.ErrAmbiguous},
		{"x", "", record.ErrNotFound},
		{"", "", record.ErrNotFound},
		{"../history/abc1", "", record.ErrNotFound},
	} {
		r, err := record.Find(root, c.prefix)
		if r.Run != c.want || !errors.Is(err, c.err) {
			t.Errorf("Find(%q) = %q, %v", c.prefix, r.Run, err)
		}
	}
}

func TestNewestFirstSaysWhatIsDamaged(t *testing.T) {
	root := t.TempDir()
	for i, run := range []string{"old", "new"} {
		w, err := record.Create(root, record.Record{Run: run, Started: time.Unix(int64(i), 0)}, 0)
		must(t, err)
		must(t, w.Close())
	}
	must(t, begin(t, root, "damaged").Close())
	must(t, os.WriteFile(filepath.Join(root, "history", "damaged", "record.json"), []byte("{"), 0o600))
	all, err := listAll(root)
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
	if len(all) != 2 || all[0].Run != "new" || all[1].Run != "old" {
		t.Errorf("list %+v", all)
	}
}

func TestFollowGoesOnUntilTheRunHasEnded(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	r, err := record.Find(root, "abc")
	must(t, err)
	w.Event(line("0"))
	var got []string
	must(t, r.ReadLog(t.Context(), func() bool { return true }, func(data []byte) error {
		e, err := record.Decode(data)
		got = append(got, e.Text)
		switch { // each line is written once the one before it was read
		case len(got) < 4:
			w.Event(line(fmt.Sprint(len(got))))
		case len(got) == 4:
			w.Event(finished("abc"))
		}
		return err
	}))
	must(t, w.Close())
	if diff := cmp.Diff([]string{"0", "1", "2", "3", ""}, got); diff != "" {
		t.Errorf("lines:\n%s", diff)
	}
}

func TestFollowEndsWithARunThatDies(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	w.Event(line("last"))
	r, err := record.Find(root, "abc")
	must(t, err)
	var live atomic.Bool
	live.Store(true)
	must(t, r.ReadLog(t.Context(), live.Load, func([]byte) error {
		live.Store(false)
		return nil
	}))
	must(t, w.Close())
}

func TestFollowEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	w.Event(line("only"))
	r, err := record.Find(root, "abc")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	err = r.ReadLog(ctx, func() bool { return true }, func([]byte) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	must(t, w.Close())
}

func TestLogEndsAtItsLimit(t *testing.T) {
	root := t.TempDir()
	w, err := record.Create(root, record.Record{Run: "abc"}, 1000)
	must(t, err)
	for range 100 {
		w.Event(line("twenty bytes of text"))
	}
	w.Event(finished("abc"))
	must(t, w.Close())
	r, err := record.Find(root, "abc")
	must(t, err)
	got := events(t, r)
	if n := len(got); n < 4 || got[n-2].Kind != event.Warning || got[n-1].Kind != event.RunFinished {
		t.Errorf("events %+v", got)
	}
	info, err := os.Stat(filepath.Join(root, "history", "abc", "log.ndjson"))
	must(t, err)
	if info.Size() > 2000 {
		t.Errorf("the log has %d bytes", info.Size())
	}
}

func TestADiskThatIsFullIsSaidAndNothingElse(t *testing.T) {
	root := t.TempDir()
	w := begin(t, root, "abc")
	must(t, os.Remove(filepath.Join(root, "history", "abc", "log.ndjson")))
	must(t, os.RemoveAll(filepath.Join(root, "history", "abc")))
	w.Event(finished("abc"))
	if err := w.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("build", "text", true)
	f.Add("b", "\x00\x1b[0m\xff\"\\</script>\u2028", false)
	root := f.TempDir()
	n := 0
	f.Fuzz(func(t *testing.T, step, text string, partial bool) {
		n++
		run := fmt.Sprintf("%d-%d", os.Getpid(), n)
		w, err := record.Create(root, record.Record{Run: run}, 0)
		must(t, err)
		e := line(text)
		e.Step, e.Partial = step, partial
		w.Event(e)
		must(t, w.Close())
		r, err := record.Find(root, run)
		must(t, err)
		var want event.Event
		data, err := json.Marshal(e)
		must(t, err)
		must(t, json.Unmarshal(data, &want))
		if diff := cmp.Diff([]event.Event{want}, events(t, r)); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		must(t, os.RemoveAll(filepath.Join(root, "history", run)))
	})
}
