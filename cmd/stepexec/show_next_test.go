package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
)

func TestNextCommandsFitTheEndOfTheRun(t *testing.T) {
	began := func(run, cell string) event.Event { return event.Event{Kind: event.RunStarted, Run: run, Cell: cell} }
	failed := func(step, cell string) event.Event {
		return event.Event{Kind: event.StepFinished, Step: step, Cell: cell, Result: &event.StepResult{Step: step, Status: event.Failed}}
	}
	kept := func(step string) event.Event { return event.Event{Kind: event.StepKept, Step: step} }
	for name, test := range map[string]struct {
		next   nextCommands
		events []event.Event
		code   int
		want   string
	}{
		"nothing ran":      {nextCommands{again: "run --failed"}, nil, 125, ""},
		"all good":         {nextCommands{again: "run --failed"}, []event.Event{began("a", "")}, 0, "run a|stepexec logs a"},
		"a step failed":    {nextCommands{again: "run --failed"}, []event.Event{began("a", ""), failed("x", "")}, 1, "run a|stepexec logs a x|stepexec run --failed"},
		"and was kept":     {nextCommands{root: "/my root"}, []event.Event{began("a", ""), failed("b c", ""), kept("b c")}, 1, "run a|stepexec logs a 'b c' --root '/my root'|stepexec shell a 'b c' --root '/my root'"},
		"several runs":     {nextCommands{again: "run --failed"}, []event.Event{began("a", "1"), began("b", "2"), failed("x", "1")}, 1, "stepexec history   # lists the runs|stepexec logs a x|stepexec run --failed"},
		"a forged name":    {nextCommands{}, []event.Event{began("a", ""), failed("x\n[deploy] succeeded", "")}, 1, "run a|stepexec logs a 'x␊[deploy] succeeded'"},
		"only interrupted": {nextCommands{again: "run --failed ci.yml"}, []event.Event{began("a", "")}, 130, "run a|stepexec run --failed ci.yml|stepexec logs a"},
	} {
		for _, e := range test.events {
			test.next.event(e)
		}
		got := test.next.lines(test.code)
		for i := range got {
			got[i] = strings.TrimSpace(got[i])
		}
		if diff := cmp.Diff(test.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
