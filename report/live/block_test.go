package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// seen is a state that has seen events.
func seen(events ...event.Event) *state {
	s := newState(Options{Plain: true})
	for _, e := range events {
		s.event(e)
	}
	return s
}

func TestBlock(t *testing.T) {
	s := seen(
		event.Event{Kind: event.RunStarted, Time: start, Name: "ci", Steps: 4},
		event.Event{Kind: event.PullStarted, Time: start, Image: "registry.example.com/team/project/image:1.26"},
		event.Event{Kind: event.PullStarted, Time: after(1), Image: "postgres"},
		event.Event{Kind: event.PullStarted, Time: after(1), Image: "redis"},
		event.Event{Kind: event.StepStarted, Time: after(1), Step: "db", Image: "busybox", Service: true},
		event.Event{Kind: event.StepStarted, Time: after(1), Step: "build", Image: "busybox"},
		event.Event{Kind: event.Line, Time: after(1), Step: "build", Stream: event.Stdout, Text: "10%\r20%", Partial: true},
		event.Event{Kind: event.Line, Time: after(1), Step: "build", Stream: event.Stdout, Text: "\r30", Partial: true},
		event.Event{Kind: event.Line, Time: after(1), Step: "build", Stream: event.Stdout, Text: "%", Partial: true},
		event.Event{Kind: event.Line, Time: after(1), Step: "db", Stream: event.Stdout, Text: "listening"},
		event.Event{Kind: event.PullProgress, Time: after(5), Image: "registry.example.com/team/project/image:1.26",
			Progress: &event.Progress{Bytes: 34_200_000, Total: 76_000_000, Rate: 12_300_000, Layers: 7, LayersDone: 2}},
		event.Event{Kind: event.PullProgress, Time: after(1), Image: "redis", Progress: &event.Progress{Bytes: 1000, Layers: 1}},
		event.Event{Kind: event.StepFinished, Time: after(5), Step: "first", Result: &event.StepResult{Step: "first", Status: event.Skipped, Reason: "no"}},
	)
	want := `ci: 1 of 4 steps done, 1 running                                             6s
  pull ~m/team/project/image:1.26  [====>    ]   45%  34.2MB/76MB  12.3MB/s  6s
  pull postgres                                               asking for it  5s
  pull redis                                                1kB  stalled 5s  5s
  build  busybox                                                             5s
    30%
  db  service, busybox                                                       5s`
	if diff := cmp.Diff(want, strings.Join(s.block(after(6), 80, 24), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"- first skipped: no\n"}, s.printed); diff != "" {
		t.Errorf("printed, -want +got:\n%s", diff)
	}
}

// TestBlockFits: whatever the size of the terminal, the block stays inside of it.
func TestBlockFits(t *testing.T) {
	events := []event.Event{{Kind: event.RunStarted, Time: start, Name: "世界" + strings.Repeat("n", 90), Steps: 40}}
	texts := []string{
		strings.Repeat("x", 500), strings.Repeat("世", 300), "a\tb\tc" + strings.Repeat("\t", 50), "e\u0301" + strings.Repeat("\u0301", 400),
		"\x1b[31m" + strings.Repeat("r", 300), "\x1b[2J\x1b[9Ahome", strings.Repeat("👩‍👩‍👧‍👦", 80), strings.Repeat("🇩🇪", 80), strings.Repeat("❤️", 80),
		"one\x00two\x9bthree\x85", strings.Repeat("\xff", 300), "",
	}
	for i := range 12 {
		step := fmt.Sprint("step ", i)
		events = append(events, event.Event{Kind: event.StepStarted, Time: start, Step: step, Image: strings.Repeat("i", 10*i), Service: i%4 == 3})
		for _, text := range texts {
			events = append(events, event.Event{Kind: event.Line, Time: start, Step: step, Stream: event.Stderr, Text: text})
		}
		image := strings.Repeat("image", i+1)
		events = append(events, event.Event{Kind: event.PullStarted, Time: start, Image: image},
			event.Event{Kind: event.PullProgress, Time: start, Image: image, Progress: &event.Progress{Bytes: int64(i), Total: 12, Layers: 1}})
	}
	for _, plain := range []bool{true, false} {
		s := seen(events...)
		s.o.Plain, s.o.Style.Colour = plain, !plain
		for columns := 1; columns <= 210; columns += 9 {
			for rows := 1; rows <= 60; rows += 7 {
				lines := s.block(after(100), columns, rows)
				if len(lines) > max(0, rows-1) {
					t.Fatalf("%d lines in %d rows", len(lines), rows)
				}
				for _, line := range lines {
					if w := width(line); w >= columns {
						t.Fatalf("%d columns in a terminal of %d: %q", w, columns, line)
					}
					if strings.ContainsAny(line, "\n\r\t\b") || strings.Contains(line, "\x1b[2J") {
						t.Fatalf("%q moves the cursor", line)
					}
				}
			}
		}
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{
		{"short", 5, "short"},
		{"longer", 5, "longe"},
		{"世界", 3, "世"},
		{"世界", 4, "世界"},
		{"a\tb", 20, "a       b"},
		{"a\tb", 5, "a"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301e\u0301"},
		{"\x1b[31mred\x1b[0m", 2, "\x1b[31mre\x1b[0m"},
		{"\x1b[31mred\x1b[0m", 3, "\x1b[31mred\x1b[0m\x1b[0m"},
		{"👩‍👧x", 4, "👩‍👧"}, // to many terminals as wide as two
		{"👩‍👧x", 3, ""},
	} {
		if got := fit(test.line, test.columns); got != test.want {
			t.Errorf("fit(%q, %d) = %q, want %q", test.line, test.columns, got, test.want)
		}
	}
}

// TestScreenErasesTheRowsThatTheBlockTakesUp also after the terminal became narrower.
func TestScreenErasesTheRowsThatTheBlockTakesUp(t *testing.T) {
	for _, test := range []struct {
		reflows bool
		columns int
		up      string // but for one row
	}{{true, 40, "\x1b[2A"}, {true, 20, "\x1b[3A"}, {false, 20, "\x1b[2A"}, {true, 80, "\x1b[2A"}} {
		var out strings.Builder
		s := screen{w: &out, reflows: test.reflows}
		s.draw("", []string{"a", strings.Repeat("b", 39), "世世世"}, 40)
		out.Reset()
		s.draw("text\n", nil, test.columns)
		if want := "\x1b[?25l\r" + test.up + "\x1b[0J\x1b[1A\x1b[0Ktext\r\n\x1b[?25h"; out.String() != want {
			t.Errorf("%+v: %q, want %q", test, out.String(), want)
		}
	}
}
