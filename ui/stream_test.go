package ui_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/ui"
)

// state is a message of a stream.
type state struct {
	Version int              `json:"version"`
	Over    bool             `json:"over"`
	Logs    map[string][]int `json:"logs"`
}

// stream follows a stream of changes. Its messages end when the stream does.
func (s *served) stream(path string) (messages <-chan state, close func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	must(s.t, err)
	client := http.Client{Jar: s.client.Jar, Transport: s.client.Transport}
	response, err := client.Do(request)
	must(s.t, err)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s: %s", path, response.Status)
	}
	all := make(chan state, 1000)
	go func() { // ends with the stream
		defer response.Body.Close()
		defer func() { cancel(); closeStates(all) }()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			var one state
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &one) == nil {
				all <- one
			}
		}
	}()
	s.t.Cleanup(cancel)
	return all, cancel
}

func closeStates(c chan state) { close(c) }

// until waits for the message that is wanted.
func until(t *testing.T, messages <-chan state, what string, wanted func(state) bool) state {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case one, open := <-messages:
			if !open {
				t.Fatalf("the stream ended; waiting for %s", what)
			}
			if wanted(one) {
				return one
			}
		case <-limit:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// untilClosed waits for the end of a stream.
func untilClosed(t *testing.T, messages <-chan state) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case _, open := <-messages:
			if !open {
				return
			}
		case <-limit:
			t.Fatalf("waited %s for the end of the stream", patience)
		}
	}
}

func TestARunIsFollowedWhileItGoesOn(t *testing.T) {
	root := t.TempDir()
	end := goesOn(t, root, "live0001", began)
	s := serve(t, ui.Options{Root: root})
	page := s.page("runs/live0001")
	for _, want := range []string{"running", "data-events=", "so far"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	messages, _ := s.stream("runs/live0001/events")
	first := until(t, messages, "the first message", func(state) bool { return true })
	if got := fmt.Sprint(first.Logs, first.Over); got != "map[0:[0 1] 1:[0 1]] false" {
		t.Errorf("the first message: %s", got)
	}
	grow(t, root, "live0001", said("test", "second line"), said("test", "half"))
	grown := until(t, messages, "more lines", func(m state) bool { return len(m.Logs["1"]) > 0 && m.Logs["1"][1] == 3 })
	if grown.Version != first.Version {
		t.Error("lines alone have changed the version of the page")
	}
	if piece := s.page("runs/live0001/log?step=1&line=1"); piece != "o0 first line\no0 second line\no0 half\n" {
		t.Errorf("the piece: %q", piece)
	}
	result := event.StepResult{Step: "test", Status: event.Failed, ExitCode: 3, Started: began, Duration: event.Millis(time.Second)}
	grow(t, root, "live0001", event.Event{Kind: event.StepFinished, Step: "test", Result: &result})
	until(t, messages, "the end of a step", func(m state) bool { return m.Version > first.Version })
	if page := s.page("runs/live0001"); !strings.Contains(page, "failed with exit code 3") || !strings.Contains(page, "second line") {
		t.Error("the page does not say that the step has failed, with its last lines")
	}
	r, events := ended("live0001", event.Failed, time.Minute)
	r.Started = began
	grow(t, root, "live0001", events[len(events)-1])
	end()
	until(t, messages, "the end of the run", func(m state) bool { return m.Over })
	untilClosed(t, messages)
	if page := s.page("runs/live0001"); strings.Contains(page, "data-events=") {
		t.Error("the page of a run that has ended is still live")
	}
}

func TestARunWhoseProcessDiesIsOver(t *testing.T) {
	root := t.TempDir()
	end := goesOn(t, root, "live0001", began)
	s := serve(t, ui.Options{Root: root})
	messages, _ := s.stream("runs/live0001/events")
	until(t, messages, "the first message", func(m state) bool { return !m.Over })
	end()
	until(t, messages, "the end", func(m state) bool { return m.Over })
	if page := s.page("runs/live0001"); !strings.Contains(page, "stepexec was killed before the run&#39;s end") {
		t.Error("the page does not say that the run died")
	}
}

func TestTheListOfRunsChanges(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 2, 0)
	s := serve(t, ui.Options{Root: root})
	s.page("")
	messages, _ := s.stream("events")
	first := until(t, messages, "the first message", func(state) bool { return true })
	goesOn(t, root, "live0001", began.Add(time.Hour))
	second := until(t, messages, "the new run", func(m state) bool { return m.Version > first.Version })
	if !strings.Contains(s.page(""), "live0001") {
		t.Error("the new run is not listed")
	}
	grow(t, root, "live0001", event.Event{Kind: event.StepStarted, Step: "deploy"})
	third := until(t, messages, "the next step", func(m state) bool { return m.Version > second.Version })
	must(t, os.RemoveAll(record.Folder(root, "run0000")))
	until(t, messages, "the removal of a record", func(m state) bool { return m.Version > third.Version })
	if strings.Contains(s.page(""), "run0000") {
		t.Error("the removed run is listed")
	}
}

func TestARunThatIsRemovedWhileItIsShown(t *testing.T) {
	root := t.TempDir()
	end := goesOn(t, root, "live0001", began)
	s := serve(t, ui.Options{Root: root})
	messages, _ := s.stream("runs/live0001/events")
	until(t, messages, "the first message", func(state) bool { return true })
	must(t, os.RemoveAll(record.Folder(root, "live0001")))
	end()
	until(t, messages, "the end", func(m state) bool { return m.Over })
	for _, path := range []string{"runs/live0001", "runs/live0001/events", "runs/live0001/log?step=0&line=1"} {
		if status, body, _ := s.get(path); status != http.StatusNotFound || !strings.Contains(body, "no record of the run") {
			t.Errorf("%s: %d\n%s", path, status, body)
		}
	}
}

func TestTheServerEndsWhileStreamsAreOpen(t *testing.T) {
	root := t.TempDir()
	goesOn(t, root, "live0001", began)
	s := serve(t, ui.Options{Root: root})
	list, _ := s.stream("events")
	run, _ := s.stream("runs/live0001/events")
	until(t, list, "the first message", func(state) bool { return true })
	until(t, run, "the first message", func(state) bool { return true })
	must(t, s.stop())
	untilClosed(t, list)
	untilClosed(t, run)
}

func TestStreamsAndOpenRunsAreBounded(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 0, 17)
	s := serve(t, ui.Options{Root: root})
	var ends []func()
	for i := range 16 {
		messages, end := s.stream(fmt.Sprintf("runs/live%04d/events", i))
		until(t, messages, "the first message", func(state) bool { return true })
		ends = append(ends, end)
	}
	if status, body, _ := s.get("runs/live0016"); status != http.StatusServiceUnavailable || !strings.Contains(body, "close some pages") {
		t.Errorf("one run more: %d\n%s", status, body)
	}
	for range 48 {
		messages, _ := s.stream("events")
		until(t, messages, "the first message", func(state) bool { return true })
	}
	if status, _, _ := s.get("events"); status != http.StatusServiceUnavailable {
		t.Errorf("one stream more: %d", status)
	}
	ends[3]()
	for limit := time.Now().Add(patience); ; {
		if status, _, _ := s.get("runs/live0016"); status == http.StatusOK {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("waited %s for a run to be opened in place of one that nobody looks at", patience)
		}
	}
}

func TestALargeLogIsReadInParts(t *testing.T) {
	root := t.TempDir()
	r, events := ended("large001", event.Succeeded, time.Minute)
	var lines []event.Event
	for i := range 20_000 {
		lines = append(lines, said("build", fmt.Sprintf("line %d of a build that prints a lot of text", i)))
	}
	for range 200 { // a line of 10 MB, as it is recorded
		lines = append(lines, event.Event{Kind: event.Line, Step: "build", Stream: event.Stdout, Text: strings.Repeat("x", 50<<10), Partial: true})
	}
	lines = append(lines, said("build", "end"))
	keep(t, root, r, append(append(events[:3:3], lines...), events[3:]...)...)
	s := serve(t, ui.Options{Root: root})
	if page := s.page("runs/large001"); len(page) > 100<<10 {
		t.Errorf("the page has %d bytes: the log is in it", len(page))
	}
	last := s.page("runs/large001/log?step=0&line=19501")
	if !strings.HasPrefix(last, "o0 line 19499 of") || len(last) > 200<<10 {
		t.Errorf("the piece has %d bytes and begins %.60q", len(last), last)
	}
}

func TestStoppingNeedsTheFlagAndTheForm(t *testing.T) {
	root := t.TempDir()
	goesOn(t, root, "live0001", began)
	for _, test := range []struct {
		name, form string
		allow      bool
		says       string
	}{
		{"without the flag", "token=x", false, "without --allow-stop"},
		{"without the form", "", true, "not one of this server"},
		{"with another form", "token=x", true, "not one of this server"},
		{"with much", "token=" + strings.Repeat("x", 1<<20), true, "not one of this server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, ui.Options{Root: root, AllowStop: test.allow})
			if shown := strings.Contains(s.page("runs/live0001"), "Stop this run"); shown != test.allow {
				t.Errorf("the page has a form to stop the run: %v", shown)
			}
			request, err := http.NewRequest(http.MethodPost, s.base+"runs/live0001/stop", strings.NewReader(test.form))
			must(t, err)
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Origin", "http://"+s.host)
			response, err := s.client.Do(request)
			must(t, err)
			defer response.Body.Close()
			var body strings.Builder
			_, err = bufio.NewReader(response.Body).WriteTo(&body)
			must(t, err)
			if response.StatusCode != http.StatusForbidden || !strings.Contains(body.String(), test.says) {
				t.Errorf("%s\n%s", response.Status, body.String())
			}
		})
	}
}
