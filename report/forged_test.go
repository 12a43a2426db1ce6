package report_test

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/event/eventtest"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/report/github"
	"github.com/stepexec/stepexec/report/live"
)

// forged would be a line of its own, a command to GitHub's runner or an order to a terminal.
const forged = "::set-output name=a::b\n[deploy] succeeded\r[deploy] ready\n::forged::x\n ##[forged]y\u2028[deploy] u\u2029p\u202eq\u2066r\u200bs\ufefft\x1b[2J\x1b]0;title\a\x1b[31m"

// fill puts a text into every field that is a string, also those that a field leads to. Kinds are not
// filled: they say what the event is; nor are results and summaries added, which some kinds alone have.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[event.Kind]() {
			v.SetString(text)
		}
	case reflect.Pointer:
		if ofKind := v.Type() == reflect.TypeFor[*event.StepResult]() || v.Type() == reflect.TypeFor[*event.Summary](); v.IsNil() && !ofKind {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{text: text}))
	}
}

// forgeries are the samples with the text in all fields that are strings, with every status that a
// result may have.
func forgeries(text string) []event.Event {
	var all []event.Event
	for _, status := range []event.Status{"", event.Succeeded, event.Failed, event.Skipped, event.Cancelled, event.TimedOut} {
		for _, e := range eventtest.Sample() {
			if e.Result != nil {
				r := *e.Result
				e.Result = &r
			}
			if e.Summary != nil {
				s := *e.Summary
				s.Steps = append([]event.StepResult(nil), s.Steps...)
				e.Summary = &s
			}
			fill(reflect.ValueOf(&e).Elem(), text)
			if e.Kind == event.Line { // a step may print its own text, but must not make the display show another's
				e.Text, e.Stream = "the step's own \u202etext\u2028[deploy] \u2066succeeded\x1b[2J", event.Stdout
			}
			if status != "" && e.Result != nil {
				e.Result.Status = status
			}
			if status != "" && e.Summary != nil {
				e.Summary.Status, e.Summary.Steps[0].Status = status, status
			}
			all = append(all, e)
		}
	}
	return all
}

// forgedPast is two earlier runs with the text in all their fields, in one of which what fails now has succeeded, tests
// too.
func forgedPast() []event.Earlier {
	all := make([]event.Earlier, 2)
	for i, status := range []event.Status{event.Succeeded, event.Failed} {
		fill(reflect.ValueOf(&all[i]).Elem(), forged)
		all[i].Status, all[i].Steps[0].Status = status, status
		tests := all[i].Steps[0].Tests
		tests.Problems, tests.Failed = nil, len(tests.Failures)
		if status == event.Succeeded {
			tests.Failures, tests.Failed = nil, 0
		}
	}
	return all
}

var (
	ownCommand = regexp.MustCompile(`(?m)^::(group|endgroup|error|warning|stop-commands|stepexec-[A-Z2-7]+)[ :].*$`)
	forgedLine = regexp.MustCompile(`(?m)^\s*(::|\[deploy\])|##\[`)
	unseen     = regexp.MustCompile(`[\r\x{2028}\x{2029}\x{202e}\x{2066}\x{feff}]|\x1b\[2J|\x1b\]|\x1b\[31m`)
)

func TestNoTextOfAnEventForgesALine(t *testing.T) {
	displays := map[string]func(io.Writer) func(event.Event){
		"plain": func(w io.Writer) func(event.Event) { return report.NewPlain(w).Event },
		"quiet": func(w io.Writer) func(event.Event) { return report.NewQuiet(w).Event },
		"live": func(w io.Writer) func(event.Event) {
			view := live.New(w, live.Options{Size: func() (int, int) { return 2000, 50 }, Plain: true})
			return func(e event.Event) {
				if e.Kind == "" {
					if err := view.End(); err != nil {
						t.Error(err)
					}
					return
				}
				view.Event(e)
			}
		},
		"github": func(w io.Writer) func(event.Event) {
			log := github.New(w, github.Options{Env: func(string) string { return "" }})
			return func(e event.Event) {
				if e.Kind == "" {
					if err := log.End(1); err != nil {
						t.Error(err)
					}
					return
				}
				log.Event(e)
			}
		},
	}
	for _, kind := range report.Kinds() {
		displays[kind] = func(w io.Writer) func(event.Event) {
			c := report.NewCollector(0)
			return func(e event.Event) {
				if e.Kind != "" {
					c.Event(e)
					return
				}
				made := c.Report()
				for _, run := range made.Runs {
					run.AddPast(forgedPast())
				}
				if err := report.Write(w, report.Kind(kind), made); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for name, show := range displays {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			each := show(&out)
			for _, e := range forgeries(forged) {
				each(e)
			}
			each(event.Event{})
			text := out.String()
			if name == "github" {
				text = ownCommand.ReplaceAllString(text, "")
			}
			if name == "html" { // a browser shows the lines of an error in a box of their own
				text = strings.ReplaceAll(text, "\n[deploy]", "\n [box]")
			}
			if name == "markdown" { // as do readers of Markdown with the text of a failed test
				text = strings.ReplaceAll(text, "\n  [deploy]", "\n  (box)")
			}
			if name == "live" { // the screen is drawn with sequences of its own
				text = strings.NewReplacer("\r", "", "\x1b[31m", "").Replace(text)
			}
			for _, wrong := range []*regexp.Regexp{forgedLine, unseen} {
				if at := wrong.FindStringIndex(text); at != nil {
					t.Errorf("%s: %q", wrong, text[max(0, at[0]-100):min(len(text), at[1]+200)])
				}
			}
			if name != "quiet" && !strings.Contains(text, "deploy") {
				t.Error(fmt.Errorf("shows nothing of it: %q", text))
			}
		})
	}
}

// TestQuotedQuotesEveryField fails when an event gets a field that Quoted forgets.
func TestQuotedQuotesEveryField(t *testing.T) {
	for _, e := range forgeries(forged) {
		before := fmt.Sprintf("%#v", e)
		q := report.Quoted(e)
		if after := fmt.Sprintf("%#v", e); after != before {
			t.Errorf("%s: Quoted changes its argument", e.Kind)
		}
		if e.Kind == event.Line {
			if q.Text != e.Text {
				t.Errorf("%q is quoted", e.Text)
			}
			q.Text = ""
		}
		look(t, string(e.Kind), reflect.ValueOf(q))
	}
}

func look(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		for line := range strings.SplitSeq(v.String(), "\n") {
			if unseen.MatchString(line) || forgedLine.MatchString(strings.TrimPrefix(line, "[deploy]")) {
				t.Errorf("%s is %q", path, v.String())
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			look(t, path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				look(t, path+"."+f.Name, v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			look(t, path, v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			look(t, path, key)
			look(t, path, v.MapIndex(key))
		}
	}
}
