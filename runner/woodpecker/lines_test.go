package woodpecker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner/runnertest"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

// A server that works and takes some lines never must not keep the results that come after them.
func TestLinesThatTheServerNeverTakesDoNotHoldTheResult(t *testing.T) {
	for name, refusal := range map[string]string{
		"for a reason that might pass": "pq: invalid byte sequence for encoding",
		"for good":                     "agent can not append logs to a step that is marked not running",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.server.RefuseLines("poison", refusal)
			b.start(func(o *woodpecker.Options) { o.LogPatience = time.Millisecond })
			w := b.server.Ended(b.server.Push(workflow(serial(step("a", "echo poison", "exit 3"), step("b", "true"))...), 0, nil))
			if w.Step("a").End.GetExitCode() != 3 || outcome(w.Step("b")) != "skipped" || w.Done.GetError() != "" {
				t.Errorf("a %v, b %s, %v", w.Step("a").End, outcome(w.Step("b")), w.Done)
			}
			if !strings.Contains(printed(w.Step("a")), "stepexec: the server rejected") {
				t.Errorf("the log does not say that lines are missing: %q", w.Step("a").Lines)
			}
			b.UntilSaid("lines of the log: ")
		})
	}
}

// A full disk takes away that results outlive the runner, and the runner says so. It takes no
// result.
func TestResultsReachTheServerWhenTheDiskIsFull(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) { o.State = runnertest.SmallFileSystem(t) })
	b.server.Lose("Update", 1)
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "seq 1 20000"), step("b", "exit 3"))...), 0, nil))
	if outcome(w.Step("a")) != "success" || w.Step("b").End.GetExitCode() != 3 {
		t.Errorf("a %v, b %v", w.Step("a").End, w.Step("b").End)
	}
	var want []string
	for i := range 20000 {
		want = append(want, fmt.Sprint(i+1))
	}
	if got := printed(w.Step("a")); got != strings.Join(want, "\n") {
		t.Errorf("a has %d lines, the last %.40q", len(w.Step("a").Lines), got[max(0, len(got)-40):])
	}
	b.UntilSaid("no space left on device")
}

// What a full disk holds of a workflow whose runner ended while the server was away lacks its
// end: the workflow is red.
func TestWorkflowWhoseEndTheDiskDidNotTakeIsRed(t *testing.T) {
	b, dir := newBench(t), runnertest.SmallFileSystem(t)
	agentFile := t.TempDir() + "/agent.conf"
	options := func(o *woodpecker.Options) { o.State, o.AgentFile = dir, agentFile }
	a := b.start(options)
	s, place := gate("a", "seq 1 20000", "echo over >/gate/over")
	folder := t.TempDir()
	open := place(folder)
	id := b.server.Push(workflow(serial(s)...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	b.server.Stop()
	touch(t, open)
	b.UntilSaid("no space left on device")
	a.Kill()
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	b.server.Start()
	b.start(options)
	w := b.server.Ended(id)
	if w.Done.GetError() != "the runner was killed" || outcome(w.Step("a")) == "success" {
		t.Errorf("%v: a %v", w.Done, w.Step("a").End)
	}
}
