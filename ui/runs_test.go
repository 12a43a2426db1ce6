package ui_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/ui"
	"github.com/stepexec/stepexec/unpack"
)

// links are the runs that a page leads to, in its order.
func links(page string) (ids []string) {
	for _, match := range regexp.MustCompile(`<(?:li|th scope="row")><a (?:class="name" )?href="/\w+/runs/([^"]+)"`).FindAllStringSubmatch(page, -1) {
		ids = append(ids, match[1])
	}
	return ids
}

// keepMany keeps n runs that have ended, run0 first and run N-1 last, and live ones that go on.
func keepMany(t *testing.T, root string, n, live int) {
	t.Helper()
	for i := range n {
		status := event.Succeeded
		if i%7 == 3 {
			status = event.Failed
		}
		r, events := ended(fmt.Sprintf("run%04d", i), status, time.Duration(20+i%13)*time.Second)
		r.Name, r.Started = []string{"ci", "release", "nightly"}[i%3], began.Add(time.Duration(i)*time.Minute)
		r.File = "/src/" + r.Name + ".yml"
		r.Build = &event.Build{Branch: "main", Commit: fmt.Sprintf("%040x", i), Message: fmt.Sprintf("Change %d of something that matters", i), Author: "ada"}
		keep(t, root, r, events...)
	}
	for i := range live {
		goesOn(t, root, fmt.Sprintf("live%04d", i), began.Add(time.Duration(n+i)*time.Minute))
	}
}

// goesOn keeps the record of a run that goes on: of its steps build, test and deploy, the second one runs.
func goesOn(t *testing.T, root, id string, start time.Time) (end func()) {
	t.Helper()
	var plan []record.StepRecord
	for _, name := range []string{"build", "test", "deploy"} {
		plan = append(plan, record.StepRecord{Name: name, Image: "golang:1.26"})
	}
	keep(t, root, record.Record{Run: id, Name: "ci", File: "/src/ci.yml", User: "ada", Started: start, Steps: plan, Build: &event.Build{Branch: "main", PullRequest: 7, Message: "Work on it"}},
		event.Event{Time: start, Kind: event.RunStarted, Run: id, Name: "ci"},
		event.Event{Time: start, Kind: event.StepStarted, Step: "build"}, said("build", "hello"),
		event.Event{Time: start, Kind: event.StepFinished, Step: "build", Result: &event.StepResult{Step: "build", Status: event.Succeeded, Started: start, Duration: event.Millis(time.Second)}},
		event.Event{Time: start, Kind: event.StepStarted, Step: "test"}, said("test", "first line"))
	return goOn(t, root, id)
}

// keepImage keeps an image of one layer, which is missing.
func keepImage(t *testing.T, root string) {
	t.Helper()
	store, err := unpack.OpenStore(root)
	must(t, err)
	must(t, store.SaveImage(t.Context(), unpack.ImageRecord{Reference: "docker.io/library/alpine:3", Platform: "linux/amd64", Layers: []unpack.RecordLayer{{DiffID: digest.FromString("a")}}}))
	must(t, store.Close())
}

func TestRunsAreListedLiveOnesFirst(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 250, 3)
	r, _ := ended("gone0001", event.Succeeded, 0)
	r.Finished, r.Summary, r.Started = false, nil, began.Add(-time.Hour)
	keep(t, root, r)
	s := serve(t, ui.Options{Root: root})
	first := s.page("")
	if got := links(first); len(got) != 103 || got[0] != "live0002" || got[3] != "run0249" || got[102] != "run0150" {
		t.Errorf("the first page has %v", got)
	}
	for _, want := range []string{"1 of 3 ended", `<span class="step">test</span>`, "#7", "1–100 of 251", `rel="next"`} {
		if !strings.Contains(first, want) {
			t.Errorf("the first page has no %s", want)
		}
	}
	last := s.page("?page=2")
	if got := links(last)[3:]; len(got) != 51 || got[50] != "gone0001" {
		t.Errorf("the last page has %v", got)
	}
	if !strings.Contains(last, `<span class="badge bad">died</span>`) {
		t.Error("a run whose process died does not look like it")
	}
	for query, want := range map[string]string{
		"?q=run0013":                     "[run0013]",
		"?q=nightly+%200023":             "[run0035 run0023]", // the commit of the first one ends with it
		"?q=" + fmt.Sprintf("%040x", 17): "[run0017]",
		"?status=died":                   "[gone0001]",
		"?page=999&q=run0013":            "[run0013]",
		"?q=no+such+run":                 "[]",
	} {
		if got := fmt.Sprint(links(s.page(query))); got != want {
			t.Errorf("%s: %s, not %s", query, got, want)
		}
	}
}

func TestPipelinesHaveAChartOfTheirLastRuns(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 120, 1)
	page := serve(t, ui.Options{Root: root}).page("pipelines")
	if got := strings.Count(page, "<section"); got != 3 {
		t.Errorf("%d pipelines, not 3", got)
	}
	if got := strings.Count(page, "<rect"); got != 90 {
		t.Errorf("%d bars, not 3 times 30", got)
	}
	if !regexp.MustCompile(`<a href="/\w+/runs/run0119" tabindex="0" aria-label="run0119: `).MatchString(page) {
		t.Error("the bar of a run does not lead to it")
	}
}

// Such as runs whose record could not be kept, and those that have just begun.
func TestLiveRunsWithoutARecordAreListed(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 2, 1)
	end := goOn(t, root, "bare0001")
	s := serve(t, ui.Options{Root: root})
	const said = "It keeps no record"
	page := s.page("")
	if got := fmt.Sprint(links(page)); got != "[live0000 run0001 run0000]" || !strings.Contains(page, `<span class="name">bare0001</span>`) || !strings.Contains(page, said) {
		t.Errorf("pages of %s:\n%s", got, page)
	}
	if page := s.page("?q=run0001"); strings.Contains(page, said) {
		t.Error("a search finds the run without a record")
	}
	if page := s.page("pipelines"); strings.Contains(page, "bare0001") {
		t.Error("a run without a record is a pipeline")
	}
	if status, _, _ := s.get("runs/bare0001"); status != http.StatusNotFound {
		t.Errorf("its page: %d", status)
	}
	end()
	if page := serve(t, ui.Options{Root: root}).page(""); strings.Contains(page, "bare0001") {
		t.Error("a run that has ended without a record is listed")
	}
}

// What is on the pages is read: nothing is made, removed or written below the state root.
func TestPagesChangeNothing(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 3, 1)
	keepImage(t, root)
	layer := filepath.Join(root, "layers", "sha256", digest.FromString("a").Encoded())
	for _, dir := range []string{filepath.Join(layer, "fs"), filepath.Join(root, "tmp", "dead", "fs"), filepath.Join(root, "caches", "x")} {
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(layer, "layer.json"), []byte("{}"), 0o600))
	before := tree(t, root)
	s := serve(t, ui.Options{Root: root})
	for _, path := range []string{"", "pipelines", "runs/run0001", "runs/live0000", "storage"} {
		s.page(path)
	}
	if page := s.page("storage"); !strings.Contains(page, "docker.io/library/alpine:3") {
		t.Errorf("the image is not listed:\n%s", page)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

// tree are the files below a directory, with mode, size and time of the last change.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			files[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
		}
		return err
	}))
	return files
}

func TestStorageHasCachesWithTheirSizes(t *testing.T) {
	root := t.TempDir()
	cache := filepath.Join(root, "caches", "go-build")
	must(t, os.MkdirAll(filepath.Join(cache, "data", "deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(cache, "data", "deep", "file"), make([]byte, 5<<20), 0o600))
	page := serve(t, ui.Options{Root: root}).page("storage")
	if !regexp.MustCompile(`go-build<td class="n">5\.\d+MB<`).MatchString(page) {
		t.Errorf("the cache is not listed with its size:\n%s", page)
	}
	if _, err := os.Lstat(filepath.Join(root, "layers")); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking at the storage has made a store")
	}
}

// Root may look at another user's state root. Whoever opens a FIFO there waits for a writer that never comes.
func TestFIFOsInTheStateRootHoldUpNoPage(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 1, 0)
	for _, name := range []string{"caches/x", "keyed/entries/a/b/x.json", "runs/x"} {
		must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o700))
		must(t, unix.Mkfifo(filepath.Join(root, name), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(root, "keyed", "lock"), nil, 0o600))
	s := serve(t, ui.Options{Root: root})
	for _, path := range []string{"", "pipelines", "storage", "runs/run0000"} {
		s.page(path)
	}
}

func TestARecordThatCannotBeReadIsSaidAndTheOthersAreListed(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 3, 0)
	must(t, os.WriteFile(filepath.Join(record.Folder(root, "run0001"), "record.json"), []byte("{"), 0o600))
	s := serve(t, ui.Options{Root: root})
	page := s.page("")
	if got := fmt.Sprint(links(page)); got != "[run0002 run0000]" {
		t.Errorf("listed are %s", got)
	}
	if !strings.Contains(page, "the record is damaged") {
		t.Error("the damaged record is not said")
	}
	if status, body, _ := s.get("runs/run0001"); status != http.StatusInternalServerError || !strings.Contains(body, "damaged") {
		t.Errorf("its page: %d\n%s", status, body)
	}
}

func TestOneWithoutRecordsIsEmpty(t *testing.T) {
	s := serve(t, ui.Options{Root: filepath.Join(t.TempDir(), "missing")})
	for path, want := range map[string]string{"": "No run has ended yet", "pipelines": "no record of a run", "storage": "The store has no image"} {
		if page := s.page(path); !strings.Contains(page, want) {
			t.Errorf("%q does not say %q:\n%s", path, want, page)
		}
	}
}
