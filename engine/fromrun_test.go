package engine_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// The container of the last step is made while the first one runs, when all is well yet.
func TestVariablesTellOfTheRun(t *testing.T) {
	_, events := newBench(t).run(t, t.Context(), `
environment:
  RESULT: {from_run: status}
  SINCE: {from_run: started}
steps:
  - {name: good, image: 'oci:busybox', commands: [echo $RESULT]}
  - {name: bad, image: 'oci:busybox', commands: [sleep 1.1, exit 3]}
  - {name: report, image: 'oci:busybox', when: {status: [success, failure]}, commands: [echo $RESULT, echo $SINCE]}
`, pipeline.Inputs{}, nil)
	said := map[string][]string{}
	var failed, started time.Time
	for _, e := range events {
		switch {
		case e.Kind == event.Line && !strings.HasPrefix(e.Text, "+ "):
			said[e.Step] = append(said[e.Step], e.Text)
		case e.Kind == event.StepFinished && e.Step == "bad":
			failed = e.Time
		case e.Kind == event.StepStarted && e.Step == "report":
			started = e.Time
		}
	}
	if got := strings.Join(said["good"], " "); got != "success" {
		t.Errorf("good said %q", got)
	}
	report := said["report"]
	if len(report) != 2 || report[0] != "failure" {
		t.Fatalf("report said %q", report)
	}
	since, err := strconv.ParseInt(report[1], 10, 64)
	if err != nil || since < failed.Unix() || since > started.Unix() {
		t.Errorf("report began between %d and %d, and was told %q", failed.Unix(), started.Unix(), report[1])
	}
}
