package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/console"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/report/github"
	"github.com/stepexec/stepexec/report/live"
)

// display shows a run.
type display interface {
	// Event shows an event, which it neither changes nor keeps. Calls do not overlap.
	Event(*event.Event)

	// Say shows one of stepexec's own messages that is not an event. It may be called at any time.
	Say(line string)

	// Hide is called before the first event, with the values of secrets.
	Hide(secrets []string)

	// Flush shows whatever was held back to be shown together. Like Event it is not called
	// concurrently; it is called when no more events wait.
	Flush()

	// End is called last, with the exit code that the program will have. It returns the first error
	// of the display.
	End(exitCode int) error
}

// outputFlags say how a run is shown.
type outputFlags struct {
	format       string
	times        string
	services     bool   // show the output of services that do not fail, too
	stepCommands bool   // workflow commands for GitHub's runner
	report       string // path of a report, for GitHub's outputs
	shared       bool   // whether shells open on the terminal, over which nothing may be drawn
	root         string // state root, which contains the records of runs
	again        string // the command that runs what failed again; "": there is none
}

func outputFormats() []string { return []string{"tty", "plain", "json", "github", "quiet"} }

func (o *outputFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.format, "output", "", "how to show the run: `FORMAT` "+inWords(outputFormats())+" (default: tty on a terminal, else plain)")
	o.addTimes(flags)
	flags.BoolVar(&o.services, "show-services", false, "with --output plain or tty, show the output of services, too, not only of those that fail")
	flags.BoolVar(&o.stepCommands, "github-step-commands", false, "with --output github, let steps print commands for the job's runner (::error, ::set-output, ...)")
	complete(cmd, "output", outputFormats()...)
	complete(cmd, "timestamps", "wall", "elapsed")
}

func (o *outputFlags) addTimes(flags *pflag.FlagSet) {
	flags.StringVar(&o.times, "timestamps", "", "put the time in front of lines: `wall` clock, or elapsed since the run began")
	flags.Lookup("timestamps").NoOptDefVal = string(report.Wall)
}

// open returns the display that the flags ask for.
func (o *outputFlags) open(w io.Writer) (display, error) {
	if o.format != "" && !slices.Contains(outputFormats(), o.format) {
		return nil, fmt.Errorf("--output %s: must be %s", o.format, inWords(outputFormats()))
	}
	style, err := o.style(w)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(w, outputBuffer)
	switch o.formatFor(style, os.Getenv) {
	case "tty":
		file := w.(*os.File) // only a file can be a terminal
		view := newLiveView(file, terminalOf(file), live.Options{Style: style, Services: o.services, Flaky: flakyTests(o.root)})
		view.next = &nextCommands{again: o.again, root: o.root}
		return view, nil
	case "json":
		return buffered{said{report.NewJSON(out)}, out}, nil
	case "github":
		log := github.New(out, github.Options{Env: os.Getenv, StepCommands: o.stepCommands, Times: style.Times, Report: o.report, Past: func(r *report.Report) { addPast(o.root, r) }, LogDir: func(run string) string { return record.Folder(o.root, run) }})
		return buffered{onGitHub{log}, out}, nil
	case "quiet":
		return buffered{silent{report.NewQuiet(out)}, out}, nil
	}
	plain := report.NewPlain(out)
	plain.Style, plain.Services, plain.Flaky = style, o.services, flakyTests(o.root)
	return buffered{said{plain}, out}, nil
}

// outputBuffer is the size of the output buffer in bytes. With one write per line, 100 MB of lines
// took 1.0 s more.
const outputBuffer = 64 << 10

// buffered is a display that writes to out, and flushes it when no more events wait.
type buffered struct {
	display
	out *bufio.Writer
}

// Flush writes the buffer. The writer keeps any error, and End returns it.
func (b buffered) Flush() { _ = b.out.Flush() }

func (b buffered) End(exitCode int) error { return cmp.Or(b.display.End(exitCode), b.out.Flush()) }

// formatFor returns the requested format, if the output can show it, or otherwise the best one for
// the output.
func (o *outputFlags) formatFor(style report.Style, env func(string) string) string {
	isLive := style.Terminal && !o.shared && env("TERM") != "" && env("TERM") != "dumb"
	switch ci := env("CI"); {
	case o.format == "tty" && !isLive:
		return "plain"
	case o.format == "" && isLive && (ci == "" || ci == "false" || ci == "0"):
		return "tty"
	}
	return cmp.Or(o.format, "plain")
}

func (o *outputFlags) style(w io.Writer) (report.Style, error) {
	style := report.Style{Times: report.Times(o.times), Terminal: terminalOf(w) != nil}
	if !slices.Contains([]report.Times{report.NoTimes, report.Wall, report.Elapsed}, style.Times) {
		return style, fmt.Errorf("--timestamps=%s: must be wall or elapsed", o.times)
	}
	style.Colour = colours(style.Terminal, os.Getenv)
	return style, nil
}

// colours follows no-color.org and bixense.com/clicolors: NO_COLOR turns colours off, and
// CLICOLOR_FORCE turns them on without a terminal.
func colours(terminal bool, env func(string) string) bool {
	isSet := func(name string) bool { return env(name) != "" && env(name) != "0" }
	switch {
	case env("NO_COLOR") != "":
		return false
	case isSet("CLICOLOR_FORCE"):
		return true
	}
	return terminal && env("TERM") != "dumb" && env("CLICOLOR") != "0"
}

// terminalOf returns the terminal that w writes to, or nil.
func terminalOf(w io.Writer) console.Console {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	terminal, err := console.ConsoleFromFile(file)
	if err != nil {
		return nil
	}
	return terminal
}

// said is a display that writes messages to stderr.
type said struct{ printer }

func (s said) Event(e *event.Event) { s.printer.Event(*e) }
func (said) Say(line string)        { sayOnStderr(line) }
func (said) Hide([]string)          {}
func (said) Flush()                 {}
func (s said) End(_ int) error      { return s.Err() }

// onGitHub is a display in the log of a job.
type onGitHub struct{ *github.Log }

func (l onGitHub) Event(e *event.Event) { l.Log.Event(*e) }
func (onGitHub) Say(line string)        { sayOnStderr(line) }
func (onGitHub) Flush()                 {}

// silent is a display that prints nothing when all goes well, not even warnings.
type silent struct{ printer }

func (s silent) Event(e *event.Event) { s.printer.Event(*e) }
func (silent) Say(string)             {}
func (silent) Hide([]string)          {}
func (silent) Flush()                 {}
func (s silent) End(_ int) error      { return s.Err() }

// printer writes events.
type printer interface {
	Event(event.Event)
	Err() error
}

// failures returns the events for an error outside of any step.
func failures(err error) []event.Event {
	var invalid pipeline.Errors
	if !errors.As(err, &invalid) {
		return []event.Event{{Kind: event.Failure, Time: time.Now(), Error: err.Error()}}
	}
	var events []event.Event
	for _, e := range invalid {
		without := *e
		without.File, without.Line, without.Column = "", 0, 0
		events = append(events, event.Event{
			Kind: event.Failure, Time: time.Now(), File: e.File, Line: e.Line, Column: e.Column, Error: without.Error(),
		})
	}
	return events
}

// inWords joins a list as people write it: a, b or c.
func inWords(list []string) string {
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// complete adds shell completion for the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(cmp.Or(err, errors.New(flag))) // the flag does not exist: a mistake in this package
	}
}
