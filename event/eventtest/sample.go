// Package eventtest has events for the tests of whoever shows them.
package eventtest

import (
	"time"

	"github.com/stepexec/stepexec/event"
)

// The texts of a Sample that a display can show.
const (
	Run     = "4qpjm4ppoc"
	Name    = "the-pipeline"
	Step    = "the-step"
	Image   = "registry.example.com/the-image"
	Line    = "a line that the step printed"
	Retried = "attempt 1 of 2: failed with exit code 7; again in 1s"
	Kept    = "kept: stepexec shell 4qpjm4ppoc the-step"
	Warning = "something to know"
	Matrix  = "2 of 2 runs succeeded"
	Failure = "the pipeline file is damaged"
	File    = "ci.yml"
	Branch  = "the-branch"
	Commit  = "0123456789abcdef0123456789abcdef01234567"
	Message = "What the commit does"
	Author  = "Octo Cat"
)

// Sample returns one event of every kind, in the order of a run whose only step fails.
func Sample() []event.Event {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	result := event.StepResult{
		Step: Step, File: File, Line: 7, Image: Image, Status: event.Failed, ExitCode: 7,
		Started: at, Duration: event.Millis(3 * time.Second),
	}
	events := []event.Event{
		{Kind: event.RunStarted, Version: event.Version, Run: Run, Name: Name, Steps: 1, Build: &event.Build{Repo: "octo/cat", Event: "push", Branch: Branch, Ref: "refs/heads/" + Branch, Commit: Commit, Message: Message, Author: Author, PullRequest: 12}},
		{Kind: event.PullStarted, Image: Image},
		{Kind: event.PullProgress, Image: Image, Progress: &event.Progress{Bytes: 34_200_000, Total: 76_000_000, Rate: 12_300_000, Layers: 7, LayersDone: 2}},
		{Kind: event.PullFinished, Image: Image, Digest: "sha256:12", Duration: event.Millis(2 * time.Second)},
		{Kind: event.StepStarted, Step: Step, Image: Image},
		{Kind: event.StepRetried, Step: Step, Text: Retried},
		{Kind: event.StepStarted, Step: Step, Image: Image},
		{Kind: event.Line, Step: Step, Stream: event.Stdout, Text: Line},
		{Kind: event.Warning, Step: Step, Text: Warning},
		{Kind: event.StepFinished, Step: Step, Result: &result},
		{Kind: event.StepKept, Step: Step, Text: Kept},
		{Kind: event.RunFinished, Summary: &event.Summary{Run: Run, Name: Name, Status: event.Failed, ExitCode: 7, Duration: event.Millis(5 * time.Second), Steps: []event.StepResult{result}}},
		{Kind: event.MatrixFinished, Text: Matrix},
		{Kind: event.Failure, Error: Failure, File: File, Line: 3, Column: 5},
	}
	for i := range events {
		events[i].Time = at.Add(time.Duration(i) * time.Second)
	}
	return events
}
