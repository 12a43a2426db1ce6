package main

import (
	"slices"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

// nextCommands collects from the events of a run the commands that are useful once it is over, so
// that a new user knows how to go on. They work when pasted.
type nextCommands struct {
	again string // the command that runs what failed again; "": there is none
	root  string // state root that was given; "": the default
	runs  []string
	cells map[string]string // IDs of the runs by cell
	told  []told
}

// told names a step that the end of the run shows commands for.
type told struct {
	run, step string
	kept      bool
}

// event records an event.
func (n *nextCommands) event(e event.Event) {
	switch e.Kind {
	case event.RunStarted:
		if n.cells == nil {
			n.cells = map[string]string{}
		}
		n.cells[e.Cell] = e.Run
		n.runs = append(n.runs, e.Run)
	case event.StepFinished:
		if report.IsFailure(e.Result) {
			n.step(e)
		}
	case event.StepKept:
		n.step(e).kept = true
	}
}

func (n *nextCommands) step(e event.Event) *told {
	run := n.cells[e.Cell]
	i := slices.IndexFunc(n.told, func(t told) bool { return t.run == run && t.step == e.Step })
	if i < 0 {
		i = len(n.told)
		n.told = append(n.told, told{run: run, step: e.Step})
	}
	return &n.told[i]
}

// mostNext is the maximum number of steps whose commands are shown.
const mostNext = 3

// lines returns the commands after a run that ended with an exit code.
func (n *nextCommands) lines(code int) []string {
	if len(n.runs) == 0 {
		return nil
	}
	last := n.runs[len(n.runs)-1]
	lines := []string{"run " + last}
	if len(n.runs) > 1 {
		lines = []string{n.command("history", "", "") + "   # lists the runs"}
	}
	for _, t := range n.told[:min(len(n.told), mostNext)] {
		lines = append(lines, n.command("logs", t.run, t.step))
		if t.kept {
			lines = append(lines, n.command("shell", t.run, t.step))
		}
	}
	if code != 0 && n.again != "" {
		lines = append(lines, "stepexec "+n.again+n.flags())
	}
	if len(n.told) == 0 {
		lines = append(lines, n.command("logs", last, ""))
	}
	for i := range lines {
		lines[i] = "  " + logs.Quote(lines[i])
	}
	return lines
}

func (n *nextCommands) command(name, run, step string) string {
	words := []string{"stepexec", name}
	for _, word := range []string{run, step} {
		if word != "" {
			words = append(words, shellWord(word))
		}
	}
	return strings.Join(words, " ") + n.flags()
}

func (n *nextCommands) flags() string { return rootFlag(n.root) }

// rootFlag returns the flag, with a leading space, that commands need to find a state root other
// than the default.
func rootFlag(root string) string {
	if root == "" || root == defaultRoot() {
		return ""
	}
	return " --root " + shellWord(root)
}

// rooted adds the state root to commands in events.
func rooted(root string, show func(*event.Event)) func(*event.Event) {
	flag := rootFlag(root)
	return func(e *event.Event) {
		if e.Kind == event.StepKept {
			kept := *e
			kept.Text += flag
			e = &kept
		}
		show(e)
	}
}

// shellWord quotes a word for a shell if it needs that.
func shellWord(word string) string {
	plain := func(c rune) bool {
		return strings.ContainsRune("-_./:@%+=,", c) || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if word != "" && strings.IndexFunc(word, func(c rune) bool { return !plain(c) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
