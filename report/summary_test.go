package report_test

import (
	"bytes"
	"strings"
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
		if err := report.SummaryWithin(&out, s, nil, width); err != nil {
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

func TestSummaryAndPageShowWhatStepsHaveReached(t *testing.T) {
	reached := func(kind, name, address string, port uint16, refused bool) event.Connection {
		return event.Connection{Kind: kind, Name: name, Address: address, Port: port, Protocol: "tcp", Sent: 1024, Received: 2048, First: at(1), Last: at(2), Refused: refused}
	}
	result := event.StepResult{Step: "build", Status: event.Succeeded, Egress: []event.Connection{
		reached("", "api.example.com", "203.0.113.7", 443, false),
		reached("", "api.example.com", "203.0.113.8", 443, false),
		reached("", "", "203.0.113.9", 80, true),
		reached("service", "db", "10.213.4.2", 5432, false),
		reached("host", "", "10.213.4.254", 8080, false),
	}}
	s := &event.Summary{Run: "abc", Name: "ci", Status: event.Succeeded, Steps: []event.StepResult{result}}
	var out bytes.Buffer
	if err := report.Summary(&out, s); err != nil {
		t.Fatal(err)
	}
	want := `STEP   REACHED          WHERE    PORT      SENT  GOT
build  api.example.com  world    443/tcp   2KiB  4KiB
build  203.0.113.9      world    80/tcp    1KiB  2KiB  refused
build  db               service  5432/tcp  1KiB  2KiB
build  10.213.4.254     host     8080/tcp  1KiB  2KiB
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	run := &report.Run{Status: event.Succeeded, Steps: []*report.StepReport{{StepResult: result, Log: &report.Log{}}}}
	if err := report.WriteHTML(&out, &report.Report{Runs: []*report.Run{run}}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"<td>api.example.com<td>world<td>443/tcp", "<td>203.0.113.7, 203.0.113.8", `<span class="badge bad">refused`, "<td>db<td>service"} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the page lacks %q", row)
		}
	}
	for i := range 100 {
		s.Steps[0].Egress = append(s.Steps[0].Egress, reached("", "", "203.0.113.9", uint16(1000+i), true))
	}
	out.Reset()
	if err := report.Summary(&out, s); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nand 84 more: stepexec explain --egress abc\n") {
		t.Errorf("got %s", out.String())
	}
}
