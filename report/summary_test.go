package report_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestSummaryLeavesOutColumnsThatDoNotFit(t *testing.T) {
	const digest = "sha256:5f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8"
	usage := &event.Usage{User: ms(2100), System: ms(150), PeakMemory: 300 << 20}
	s := &event.Summary{Name: "ci", Status: event.Failed, ExitCode: 137, Duration: ms(75_000), Steps: []event.StepResult{
		{Step: "db", Service: true, Digest: digest, Status: event.Stopped, Pull: ms(400), Create: ms(30), Started: at(440), Start: ms(15), Duration: ms(9000), Usage: usage},
		{Step: "build", Digest: digest, Status: event.Succeeded, Queue: ms(120), Pull: ms(800), Create: ms(35), Started: at(845), Start: ms(16), Duration: ms(65_000), Usage: usage},
		{Step: "test ü", Digest: digest, Status: event.Failed, ExitCode: 137, OOM: true, Started: at(3848), Start: ms(12), Duration: ms(5000), Usage: usage},
		{Step: "push", Status: event.Skipped},
	}}
	for width, want := range map[int]string{
		0: `STEP    STATUS                  EXIT  QUEUE   PULL  START    RUN   CPU     MEMORY  IMAGE
db      stopped                    -     0s  400ms   45ms     9s  2.3s  300.0 MiB  5f1a2b3c4d5e
build   succeeded                  0  120ms  800ms   51ms  1m 5s  2.3s  300.0 MiB  5f1a2b3c4d5e
test ü  failed (out of memory)   137     0s     0s   12ms     5s  2.3s  300.0 MiB  5f1a2b3c4d5e
push    skipped                    -      -      -      -      -     -          -  -

ci: failed with exit code 137 after 1m 15s
`,
		80: `STEP    STATUS                  EXIT  QUEUE   PULL  START    RUN     MEMORY
db      stopped                    -     0s  400ms   45ms     9s  300.0 MiB
build   succeeded                  0  120ms  800ms   51ms  1m 5s  300.0 MiB
test ü  failed (out of memory)   137     0s     0s   12ms     5s  300.0 MiB
push    skipped                    -      -      -      -      -          -

ci: failed with exit code 137 after 1m 15s
`,
		50: `STEP    STATUS                  EXIT    RUN
db      stopped                    -     9s
build   succeeded                  0  1m 5s
test ü  failed (out of memory)   137     5s
push    skipped                    -      -

ci: failed with exit code 137 after 1m 15s
`,
		10: `STEP    STATUS                  EXIT    RUN
db      stopped                    -     9s
build   succeeded                  0  1m 5s
test ü  failed (out of memory)   137     5s
push    skipped                    -      -

ci: failed with exit code 137 after 1m 15s
`,
	} {
		var out bytes.Buffer
		if err := report.SummaryWithin(&out, s, width); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", width, diff)
		}
		for line := range bytes.Lines(out.Bytes()) {
			if n := utf8.RuneCount(line) - 1; width >= 50 && n > width {
				t.Errorf("%d of %d columns: %s", n, width, line)
			}
		}
	}
}
