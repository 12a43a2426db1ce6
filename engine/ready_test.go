package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// serviceNeverReady waits for a line that never comes.
const serviceNeverReady = `
services:
  db: {image: 'oci:busybox', commands: ['echo up; exec sleep 1000'], ready: {log: never, timeout: 10m}}
steps:
  - {name: use, image: 'oci:busybox', commands: [echo never]}
`

func TestAnInterruptEndsTheWaitingForAService(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	summary, _ := newBench(t).run(t, ctx, serviceNeverReady, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.Line {
			cancel()
		}
	})
	if summary.Status != event.Cancelled || summary.Steps[0].Status != event.Stopped || summary.Steps[0].NotReady || summary.Steps[1].Status != event.Cancelled {
		t.Errorf("got %+v", summary)
	}
}

func TestTheTimeOfThePipelineEndsTheWaitingForAService(t *testing.T) {
	summary, _ := newBench(t).run(t, t.Context(), serviceNeverReady, pipeline.Inputs{Timeout: 2 * time.Second}, nil)
	if summary.Status != event.TimedOut || summary.ExitCode != event.CodeTimeout || summary.Steps[0].NotReady {
		t.Errorf("got %+v", summary)
	}
}

func TestServicesThatOnlyADetachedStepNeedsDoNotHoldTheRun(t *testing.T) {
	summary, _ := newBench(t).run(t, t.Context(), `
services:
  db: {image: 'oci:busybox', commands: [exec sleep 1000], ready: {log: never, timeout: 10m}}
steps:
  - {name: server, image: 'oci:busybox', detach: true, depends_on: [db], commands: [exec sleep 1000]}
  - {name: more, image: 'oci:busybox', detach: true, depends_on: [server], commands: [exec sleep 1000]}
  - {name: lint, image: 'oci:busybox', depends_on: [], commands: ['true']}
`, pipeline.Inputs{}, nil)
	if summary.Status != event.Succeeded || summary.Steps[3].Status != event.Succeeded {
		t.Errorf("got %+v", summary)
	}
}

func TestProbesOfAServiceHaveItsSecretsAndTellNone(t *testing.T) {
	summary, events := newBench(t).run(t, t.Context(), `
services:
  db:
    image: 'oci:busybox'
    environment: {TOKEN: {from_secret: token}}
    commands: [exec sleep 1000]
    ready: {exec: 'echo "token $TOKEN"; exit 3', timeout: 1s, interval: 10ms}
steps:
  - {name: use, image: 'oci:busybox', commands: [echo never]}
`, pipeline.Inputs{Secrets: map[string]string{"token": "s3cret-value"}}, nil)
	db := summary.Steps[0]
	if !db.NotReady || !strings.Contains(db.Error, "last try: exit code 3: token ***") {
		t.Errorf("got %+v", db)
	}
	for _, line := range story(events) {
		if strings.Contains(line, "s3cret-value") {
			t.Errorf("%q has the secret", line)
		}
	}
}

func TestAFailedTryThatHangsIsCutShortByTheTimeout(t *testing.T) {
	summary, _ := newBench(t).run(t, t.Context(), `
services:
  db: {image: 'oci:busybox', commands: [exec sleep 1000], ready: {exec: sleep 1000, timeout: 1s}}
steps:
  - {name: use, image: 'oci:busybox', commands: [echo never]}
`, pipeline.Inputs{}, nil)
	if db := summary.Steps[0]; !db.NotReady || db.Status != event.TimedOut || !strings.Contains(db.Error, "waited for sleep 1000 to succeed") {
		t.Errorf("got %+v", db)
	}
}

func TestALineIsSeenThatIsShownNowhere(t *testing.T) {
	summary, events := newBench(t).run(t, t.Context(), `
services:
  db: {image: 'oci:busybox', output: none, commands: [echo up, exec sleep 1000], ready: {log: ^up$}}
steps:
  - {name: use, image: 'oci:busybox', commands: ['true']}
`, pipeline.Inputs{}, func(e event.Event) {
		if e.Kind == event.Line && e.Step == "db" {
			t.Errorf("shown: %q", e.Text)
		}
	})
	if summary.Status != event.Succeeded || summary.Steps[0].Ready == 0 {
		t.Errorf("got %+v\n%q", summary, story(events))
	}
}
