package github_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report/github"
)

// obeyed returns the commands that GitHub's runner obeys in a log, as it reads one: a line that begins with :: after
// spaces, unless commands are stopped. The error says where groups nest, or end without a beginning.
func obeyed(log string) (commands []string, err error) {
	stopped, open := "", false
	lines := strings.FieldsFunc(log, func(c rune) bool { return c == '\n' || c == '\r' })
	for _, line := range lines {
		line = strings.TrimSpace(line)
		rest, isCommand := strings.CutPrefix(line, "::")
		if !isCommand && !strings.Contains(line, "##[") {
			continue
		}
		head, message, _ := strings.Cut(rest, "::")
		name, _, _ := strings.Cut(head, " ")
		if stopped != "" {
			if name == stopped {
				stopped = ""
			}
			continue
		}
		commands = append(commands, name)
		switch {
		case name == "stop-commands":
			stopped = message
		case name == "group" && open, name == "endgroup" && !open:
			return commands, fmt.Errorf("groups do not match at %q", line)
		case name == "group":
			open = true
		case name == "endgroup":
			open = false
		}
	}
	if open {
		err = fmt.Errorf("a group has no end")
	}
	return commands, err
}

// Whatever steps print, the runner obeys nothing but the commands that make groups and annotations.
func TestNothingThatStepsPrintIsObeyed(t *testing.T) {
	pieces := []string{
		"::group::", "::endgroup::", "::error::x", "::set-output name=a::b", "::add-mask::a", "::stop-commands::", "::stepexec-::", "##[command]x", "\r", "\x1b[0K", "%0A", "%0D", "\v", "\f", "\u2028", "\u0085",
		"section_start:1:a[collapsed=true]\r\x1b[0K", "section_end:1:a\r\x1b[0K", "section_start:1:::error::x", " ", "text", "\x1b]8;;", "\x00",
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 500 {
		steps := []string{"a", "b", "c"}
		var events []event.Event
		running := map[string]bool{}
		for range 60 {
			step := steps[rnd.IntN(len(steps))]
			switch {
			case !running[step]:
				running[step] = true
				events = append(events, started(step))
			case rnd.IntN(25) == 0:
				delete(running, step)
				events = append(events, finished(event.StepResult{Step: step, Status: event.Failed, ExitCode: 1, Error: pieces[rnd.IntN(len(pieces))], File: "ci.yml", Line: 1}))
			default:
				text := ""
				for range rnd.IntN(4) {
					text += pieces[rnd.IntN(len(pieces))]
				}
				e := line(step, text)
				e.Partial = rnd.IntN(6) == 0
				if rnd.IntN(3) == 0 {
					e.Stream = event.Stderr
				}
				events = append(events, e)
			}
		}
		for _, step := range steps {
			if running[step] {
				events = append(events, finished(event.StepResult{Step: step, Status: event.Succeeded}))
			}
		}
		got := log(t, github.Options{}, nil, 0, events...)
		commands, err := obeyed(got)
		if err != nil {
			t.Fatalf("round %d: %v in %q", round, err, got)
		}
		for _, name := range commands {
			if !strings.Contains(" group endgroup stop-commands error ", " "+name+" ") {
				t.Fatalf("round %d: the command %q is obeyed in %q", round, name, got)
			}
		}
	}
}
