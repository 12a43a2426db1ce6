package drone_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/runnertest"
)

// A server that works and takes a log never must not keep the result that comes after it.
func TestLogThatTheServerNeverTakesDoesNotHoldTheResult(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) { o.LogPatience = time.Millisecond })
	b.server.Refuse(callUpload, 500, 1<<16)
	if s := b.server.Ended(b.server.Push(steps("a: commands: ['echo text', exit 3]"), nil)); outcome(s) != "clone=success a=failure(3) failure" {
		t.Errorf("%s %s", outcome(s), s.Error)
	}
	b.UntilSaid("the server rejected the log")
}

// A proxy before the server takes less than a whole log: it gets the end.
func TestLogThatIsTooLargeForAProxyIsCut(t *testing.T) {
	b := newBench(t)
	b.server.Refuse(callUpload, 413, 2)
	b.start(nil)
	s := b.server.Ended(b.server.Push("kind: pipeline\nclone: {disable: true}\nsteps: [{name: a, image: 'oci:busybox', commands: [seq 1 100, exit 3]}]", nil))
	text := s.Step("a").Text()
	if outcome(s) != "a=failure(3) failure" || strings.Contains(text, "\n10\n") || !strings.HasSuffix(text, "\n99\n100\n+ exit 3\n") || !strings.Contains(text, "lines are missing") {
		t.Errorf("%s %s\n%s", outcome(s), s.Error, text)
	}
}

// A full disk takes away that results outlive the runner, and the runner says so. It takes no
// result.
func TestResultsReachTheServerWhenTheDiskIsFull(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) { o.State = runnertest.SmallFileSystem(t) })
	b.server.Lose("PUT /rpc/v2/step/{id}", 1)
	s := b.server.Ended(b.server.Push(steps("a: commands: [seq 1 20000]", "b: commands: [exit 3]"), nil))
	if outcome(s) != "clone=success a=success b=failure(3) failure" || !strings.Contains(s.Step("a").Text(), "\n20000\n") {
		t.Errorf("%s %s", outcome(s), s.Error)
	}
	b.UntilSaid("no space left on device")
}

// What a full disk holds of a stage whose runner ended while the server was away lacks its end:
// the stage is red.
func TestStageWhoseEndTheDiskDidNotTakeIsRed(t *testing.T) {
	b, dir := newBench(t), runnertest.SmallFileSystem(t)
	w := b.start(func(o *drone.Options) { o.State = dir })
	id := b.server.Push(steps("a: commands: ['echo begun', 'until test -e go; do sleep 0.05; done', seq 1 20000]"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	volume := waitFor(t, b.Dir+"/root/runs/*/volumes/.workspace")
	b.server.Stop()
	touch(t, volume+"/go")
	b.UntilSaid("no space left on device")
	w.Kill()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	b.server.Restart()
	b.start(func(o *drone.Options) { o.State = dir })
	if s := b.server.Ended(id); s.Status != "error" || s.Error != "the runner was killed" || s.Step("a").Status != "error" {
		t.Errorf("%s %s: %s", s.Status, s.Error, outcome(s))
	}
}
