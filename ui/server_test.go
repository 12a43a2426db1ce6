package ui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/ui"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds each wait of these tests, on a machine that is busy.
const patience = 2 * time.Minute

var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// served is a server that serves, and a client that has shown the token.
type served struct {
	t      *testing.T
	url    string // that is printed
	base   string // address of the first page
	host   string
	client *http.Client
	stop   func() error // ends the server; also called at the end of the test
}

func serve(t *testing.T, o ui.Options) *served {
	t.Helper()
	l, err := ui.Listen("127.0.0.1:0")
	must(t, err)
	server, err := ui.New(o, l.Addr())
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	jar, err := cookiejar.New(nil)
	must(t, err)
	s := &served{t: t, url: server.URL(), host: l.Addr().String(), client: &http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: patience}}
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		s.client.CloseIdleConnections()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return fmt.Errorf("the server has not ended after %s", patience)
		}
	}
	t.Cleanup(func() { must(t, s.stop()) })
	response, err := s.client.Get(s.url)
	must(t, err)
	defer response.Body.Close()
	s.base = response.Request.URL.String()
	return s
}

// get gets a page below the first one.
func (s *served) get(path string) (status int, body string, header http.Header) {
	s.t.Helper()
	response, err := s.client.Get(s.base + path)
	must(s.t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	must(s.t, err)
	return response.StatusCode, string(data), response.Header
}

// page gets a page that must be there.
func (s *served) page(path string) string {
	s.t.Helper()
	status, body, _ := s.get(path)
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d\n%s", path, status, body)
	}
	return body
}

// keep keeps a record as runs leave it.
func keep(t *testing.T, root string, r record.Record, events ...event.Event) {
	t.Helper()
	if r.Started.IsZero() {
		r.Started = began
	}
	dir := record.Folder(root, r.Run)
	must(t, os.MkdirAll(dir, 0o700))
	data, err := json.Marshal(r)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "record.json"), data, 0o600))
	must(t, os.Chtimes(filepath.Join(dir, "record.json"), r.Started, r.Started))
	must(t, os.WriteFile(filepath.Join(dir, "log.ndjson"), nil, 0o600))
	grow(t, root, r.Run, events...)
}

// grow adds events to the log of a record.
func grow(t *testing.T, root, run string, events ...event.Event) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(record.Folder(root, run), "log.ndjson"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	for _, e := range events {
		if e.Time.IsZero() {
			e.Time = began
		}
		data, err := json.Marshal(e)
		must(t, err)
		_, err = file.Write(append(data, '\n'))
		must(t, err)
	}
}

// ended is a record and the events of a run that has ended.
func ended(id string, status event.Status, took time.Duration) (record.Record, []event.Event) {
	code := 0
	if status != event.Succeeded {
		code = 3
	}
	result := event.StepResult{Step: "build", Image: "golang:1.26", Status: status, ExitCode: code, Eligible: began, Started: began, Duration: event.Millis(took)}
	summary := event.Summary{Run: id, Name: "ci", Status: status, ExitCode: code, Duration: event.Millis(took), Steps: []event.StepResult{result}}
	r := record.Record{Run: id, Name: "ci", File: "/src/ci.yml", User: "ada", Finished: true, Summary: &summary, Steps: []record.StepRecord{{Name: "build", Image: "golang:1.26"}}}
	return r, []event.Event{
		{Kind: event.RunStarted, Run: id, Name: "ci"}, {Kind: event.StepStarted, Step: "build", Image: "golang:1.26"}, said("build", "hello"),
		{Kind: event.StepFinished, Step: "build", Result: &result}, {Kind: event.RunFinished, Summary: &summary},
	}
}

func said(step, text string) event.Event {
	return event.Event{Kind: event.Line, Step: step, Stream: event.Stdout, Text: text}
}

// goOn makes a run go on: its folder is locked, as the process of a run does. It has ended once the returned
// function is called.
func goOn(t *testing.T, root, run string) (end func()) {
	t.Helper()
	dir := filepath.Join(root, "runs", run)
	must(t, os.MkdirAll(dir, 0o700))
	lock, err := os.Open(dir)
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	end = func() { _ = lock.Close() } // twice is an error that does no harm
	t.Cleanup(end)
	return end
}
