package report

import (
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/event"
)

// counts says how many steps have each status. Services are counted by themselves, and failures that the
// pipeline allows are not among those that it does not.
func counts(steps []*StepReport) string {
	number, services, bad := map[string]int{}, 0, 0
	for _, s := range steps {
		if s.Service {
			services++
			if s.isBad() {
				bad++
			}
			continue
		}
		kind := ""
		switch {
		case s.Flaky():
			kind = " (flaky)"
		case s.Ignored && (s.Status == event.Failed || s.Status == event.TimedOut):
			kind = " (ignored)"
		}
		number[string(s.Status)+kind]++
	}
	text := inNumbers(number)
	switch {
	case bad > 0:
		text += fmt.Sprintf("; %s, %d failed", plural(services, "service"), bad)
	case services > 0:
		text += "; " + plural(services, "service")
	}
	return strings.TrimPrefix(text, "; ")
}

// runCounts says how many runs have each status.
func runCounts(runs []*Run) string {
	number := map[string]int{}
	for _, run := range runs {
		number[string(run.Status)]++
	}
	return inNumbers(number)
}

// inNumbers writes how many there are of each status, and of each kind of it.
func inNumbers(number map[string]int) string {
	var parts []string
	for _, s := range []event.Status{event.Succeeded, event.Failed, event.TimedOut, event.Cancelled, Died, event.Running, event.Pending, event.Skipped, event.Stopped} {
		for _, kind := range []string{"", " (flaky)", " (ignored)"} {
			if n := number[string(s)+kind]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s%s", n, s, kind))
			}
		}
	}
	return strings.Join(parts, ", ")
}
