package report_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ms(n int) event.Millis { return event.Millis(time.Duration(n) * time.Millisecond) }

func at(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }

// hostile is text that is markup somewhere.
const hostile = "<script>alert(1)</script>|*x*_y_ `z` [l](http://e) @all </details>\x1b[2J\x00\xff\u202e&amp;]]>"

// story is a run in which everything happens.
func story() *report.Report {
	const digest = "sha256:5f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8"
	usage := &event.Usage{User: ms(2100), System: ms(150), PeakMemory: 300 << 20, BytesRead: 12 << 20, BytesWritten: 5 << 20}
	results := []event.StepResult{
		{Step: "db", Service: true, Image: "postgres:18", Digest: digest, Status: event.Stopped, Prepared: at(5), Pull: ms(400), Create: ms(30), Started: at(440), Start: ms(15), Ready: ms(300), Duration: ms(9000), Usage: usage},
		{Step: "build", Image: "golang:1.26", Digest: digest, Status: event.Succeeded, DependsOn: []string{"db"}, WaitedFor: "db", Eligible: at(755), Prepared: at(5), Pull: ms(800), Create: ms(35), Started: at(845), Start: ms(16), Duration: ms(3000), Usage: usage,
			Artifacts: []event.Artifact{{Name: "binaries " + hostile, Folder: "/var/lib/stepexec/history/4qpjm4ppoc/artifacts/binaries", Files: 1, Bytes: 12_345_678}, {Name: "docs", Folder: "/out/docs", Files: 40, Bytes: 9000}},
			Caches:    []event.CacheUse{{Name: "modules", Restored: "part of the key", Files: 1200, Bytes: 88_000_000}, {Name: hostile, Restored: "nothing"}}},
		{Step: "lint", File: "ci/pipeline.yml", Line: 12, Image: "golang:1.26", Digest: digest, Status: event.Failed, ExitCode: 3, Ignored: true, Eligible: at(755), Queue: ms(3100), Prepared: at(3856), Create: ms(30), Started: at(3890), Start: ms(14), Duration: ms(500), Usage: usage},
		{Step: "test", File: "ci/pipeline.yml", Line: 17, Image: "golang:1.26", Digest: digest, Status: event.Failed, ExitCode: 137, OOM: true, DependsOn: []string{"build"}, WaitedFor: "build", Eligible: at(3846), Prepared: at(900), Pull: ms(1), Create: ms(40), Started: at(3848), Start: ms(12), Duration: ms(5000), Error: "out of memory: limit of the step (512 MiB)", Usage: usage},
		{Step: "flaky", Image: "alpine:3", Digest: digest, Status: event.Succeeded, Eligible: at(10), Prepared: at(2000), Create: ms(20), Started: at(2030), Start: ms(10), Duration: ms(100), Usage: usage,
			Attempts: []event.Attempt{{Status: event.Failed, ExitCode: 1, Started: at(100), Duration: ms(900)}, {Status: event.Succeeded, Started: at(2030), Duration: ms(100)}}},
		{Step: "gone", Image: "nowhere.example/image", Status: event.Failed, ExitCode: 125, Error: "pull nowhere.example/image: no such host", Eligible: at(10), Prepared: at(11)},
		{Step: hostile, Image: hostile, Status: event.TimedOut, ExitCode: 124, Eligible: at(10), Prepared: at(11), Started: at(50), Start: ms(10), Duration: ms(2000), Error: "the step's time is over: " + hostile},
		{Step: "push", Image: "alpine:3", Status: event.Skipped, Reason: "a step before it failed", DependsOn: []string{"test"}, WaitedFor: "test", Eligible: at(8850)},
		{Step: "late", Image: "alpine:3", Status: event.Cancelled, ExitCode: 130, Started: at(3000), Duration: ms(100)},
		{Step: "never", Image: "alpine:3", Status: event.Cancelled, ExitCode: 130},
	}
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "4qpjm4ppoc", Name: "ci", Build: &event.Build{
		Repo: "octo/cat", Event: "pull_request", Branch: "main", Ref: "refs/pull/12/head", Commit: "0123456789abcdef0123456789abcdef01234567",
		Message: "What the commit does " + hostile, Author: hostile, PullRequest: 12,
	}})
	c.Event(event.Event{Kind: event.PullFinished, Time: at(800), Image: "golang:1.26", Digest: digest, SignedBy: "release.pub " + hostile, Duration: ms(800)})
	c.Event(event.Event{Kind: event.Warning, Time: at(3), Text: "a secret is short " + hostile})
	line := func(after int, step, stream, text string, partial bool) {
		c.Event(event.Event{Kind: event.Line, Time: at(after), Step: step, Stream: stream, Text: text, Partial: partial})
	}
	line(900, "build", event.Stdout, "\x1b[1;32mok\x1b[0m  \x1b[38;5;208mpackage\x1b[m one", false)
	line(950, "build", event.Stderr, "warning: \x1b[31mred\x1b[39m and \x1b[44;97mblue\x1b[0m", false)
	line(1000, "build", event.Stdout, "10%\r50%\r100%", false)
	line(3900, "test", event.Stdout, "=== RUN TestAll", false)
	line(4900, "test", event.Stdout, "a very long ", true)
	line(5000, "test", event.Stdout, "line", false)
	line(6000, "test", event.Stderr, hostile, false)
	line(7000, "test", event.Stderr, "```", false)
	c.Event(event.Event{Kind: event.StepRetried, Time: at(1000), Step: "flaky", Text: "attempt 1 of 2: failed with exit code 1; again in 1s"})
	c.Event(event.Event{Kind: event.RunFinished, Time: at(9500), Summary: &event.Summary{
		Run: "4qpjm4ppoc", Name: "ci", Status: event.Failed, ExitCode: 137, Duration: ms(9500), Steps: results,
	}})
	r := c.Report()
	r.Made = at(10_000)
	r.Runs[0].AddPast(pastRuns())
	return r
}

// pastRuns are earlier runs of the story's pipeline, more than a report has room for.
func pastRuns() (runs []event.Earlier) {
	status := []event.Status{event.Succeeded, event.Succeeded, event.Failed, event.Succeeded, event.TimedOut, event.Cancelled}
	for i := range 40 {
		runs = append(runs, event.Earlier{Started: start.Add(-time.Duration(i+1) * time.Hour), Summary: event.Summary{Run: fmt.Sprint("run", i, hostile), Status: status[i%len(status)], Duration: ms(4000 + i*i%37*300), Steps: []event.StepResult{
			{Step: "build", Status: event.Succeeded, Duration: ms(1000)}, {Step: "test", Status: event.Succeeded}, {Step: "push", Status: event.Succeeded},
			{Step: "flaky", Status: event.Failed, ExitCode: 1}, {Step: hostile, Status: event.Succeeded},
		}}})
	}
	return runs
}

// TestReportsOfARunInWhichEverythingHappens compares the small formats with files that
// were read by eye.
func TestReportsOfARunInWhichEverythingHappens(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *report.Report) error{
		"story.md":   report.WriteMarkdown,
		"story.xml":  report.WriteJUnit,
		"story.json": report.WriteJSON,
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&out, story()); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
		})
	}
}
