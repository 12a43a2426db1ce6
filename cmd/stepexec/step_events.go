package main

import (
	"fmt"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// stepEvents prints messages of `stepexec step` for each kind of event: only those that the
// command's own output does not show.
type stepEvents struct{ say func(line string) }

func (stepEvents) RunStarted(event.Event)     {}
func (stepEvents) PullStarted(event.Event)    {} // the view of pulls shows it
func (stepEvents) PullProgress(event.Event)   {} // the view of pulls shows it
func (stepEvents) StepStarted(event.Event)    {}
func (stepEvents) Line(event.Event)           {} // the command's output is passed on unchanged
func (stepEvents) MatrixFinished(event.Event) {}
func (stepEvents) RunFinished(event.Event)    {}
func (stepEvents) Failure(event.Event)        {} // main prints it

func (s stepEvents) Warning(e event.Event)     { s.say("warning: " + e.Text) }
func (s stepEvents) StepKept(e event.Event)    { s.say(e.Text) }
func (s stepEvents) StepRetried(e event.Event) { s.say(e.Text) }

func (s stepEvents) PullFinished(e event.Event) {
	if e.Error == "" && time.Duration(e.Duration) >= time.Second {
		s.say(fmt.Sprintf("image %s ready after %s", e.Image, report.Duration(e.Duration)))
	}
}

func (s stepEvents) StepFinished(e event.Event) {
	if e.Result.Error != "" {
		s.say(e.Result.Error)
	}
}
