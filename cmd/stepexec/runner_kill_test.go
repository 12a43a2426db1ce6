package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// killAt is when a runner is killed. The zero value is its first call of the registry.
type killAt struct {
	call  string // of the server
	well  int    // number of such calls before it
	after bool   // the server has obeyed the call, and the answer is lost
}

// killed starts runners that are killed with SIGKILL one after the other, each when at says so.
// The image is one of a registry that kills its caller. It returns when the last runner and its
// guard are gone.
func killed(t *testing.T, moments []killAt, arm func(at killAt, kill func()), push func(image string), start func() *exec.Cmd) {
	t.Helper()
	var fromRegistry func()
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fromRegistry()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(registry.Close)
	for i, at := range moments {
		started, dead := make(chan *exec.Cmd, 1), make(chan struct{})
		kill := sync.OnceFunc(func() {
			cmd := <-started
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it says that the runner was killed
			close(dead)
		})
		if fromRegistry = kill; at.call != "" {
			arm(at, kill)
		}
		if i == 0 {
			image := ""
			if at.call == "" {
				image = strings.TrimPrefix(registry.URL, "http://") + "/image:1"
			}
			push(image)
		}
		started <- start()
		select {
		case <-dead:
		case <-time.After(time.Minute):
			t.Fatalf("waited in vain for the call at which the runner is killed: %+v", at)
		}
	}
}

// drained waits until a runner has told its server everything, ends it, and checks that it has
// left nothing.
func drained(t *testing.T, cmd *exec.Cmd, root string) {
	t.Helper()
	waits := func() bool {
		files, _ := filepath.Glob(filepath.Join(root, "runner", "*", "*"))
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.Size() > 0 { // an empty one is of a build to come
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(time.Minute); waits(); time.Sleep(10 * time.Millisecond) { // nobody tells of it
		if time.Now().After(end) {
			t.Fatal("waited in vain until the server has heard everything")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("drained: %v", err)
	}
	for _, pattern := range []string{"runs/*", "runner/*/*"} {
		if left, err := filepath.Glob(filepath.Join(root, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// ranOnce reports whether a step ran, which writes a line to a file each time. It may not have
// run twice.
func ranOnce(t *testing.T, marks string) bool {
	t.Helper()
	text, _ := os.ReadFile(filepath.Join(marks, "a")) // without a file it never ran
	if strings.Count(string(text), "\n") > 1 {
		t.Errorf("the step ran more than once: %q", text)
	}
	return len(text) > 0
}

// A workflow whose agent is killed at any call ends, runs once at most, and is never green.
func TestWoodpeckerWorkflowOfAnAgentKilledAtAnyCall(t *testing.T) {
	w := newWoodpeckerRunner(t)
	w.variables = []string{"WOODPECKER_MAX_WORKFLOWS=1"}
	inAStep := killAt{call: "Log", after: true}
	for name, moments := range map[string][]killAt{
		"poll":                         {{call: "Next"}},
		"given out":                    {{call: "Next", after: true}},
		"about to begin":               {{call: "Init"}},
		"begun":                        {{call: "Init", after: true}},
		"pull":                         {{}},
		"about to tell a step's start": {{call: "Update"}},
		"step has begun":               {{call: "Update", after: true}},
		"lines":                        {{call: "Log"}},
		"lines are there":              {inAStep},
		"later lines":                  {{call: "Log", well: 1}},
		"step's end":                   {{call: "Update", well: 1}},
		"step has ended":               {{call: "Update", well: 1, after: true}},
		"last step has ended":          {{call: "Update", well: 4, after: true}},
		"end":                          {{call: "Done"}},
		"has ended":                    {{call: "Done", after: true}},
		"twice before the beginning":   {{call: "Init"}, {call: "Init"}},
		"twice at the beginning":       {{call: "Init", after: true}, {call: "Init", after: true}},
		"then before the last lines":   {inAStep, {call: "Log"}},
		"then after the last lines":    {inAStep, {call: "Log", after: true}},
		"then at a step's end":         {inAStep, {call: "Update"}},
		"then after a step's end":      {inAStep, {call: "Update", after: true}},
		"then at the end":              {inAStep, {call: "Done"}, {call: "Done"}},
		"then after the end":           {inAStep, {call: "Done", after: true}},
	} {
		t.Run(name, func(t *testing.T) {
			defer w.server.Sound()
			marks, id, pause := t.TempDir(), "", "true"
			if moments[0].call == "Log" {
				pause = "sleep 1" // the kill is in the middle of the step
			}
			arm := func(at killAt, kill func()) {
				if w.server.Sound(); at.after {
					w.server.After(at.call, at.well, kill)
				} else {
					w.server.Before(at.call, at.well, kill)
				}
			}
			push := func(image string) {
				a, always := w.step("a", "echo one >>/marks/a", "echo begun", pause, "echo ended", "exit 3"), w.step("always", "echo cleaned up")
				a.Volumes, always.OnFailure = append(a.Volumes, marks+":/marks"), true
				if image != "" {
					a.Image = image
				}
				id = w.push(a, w.step("never", "true"), always)
			}
			killed(t, moments, arm, push, func() *exec.Cmd { w.server.NoPolls(); return w.start() })
			w.server.NoPolls()
			w.server.Sound()
			if name == "given out" { // only the server can know that nobody has it, when its lease is over
				w.server.GiveOutAgain(id)
			}
			again := w.start()
			got := w.server.Ended(id)
			ran, end, always := ranOnce(t, marks), got.Step("a").End, got.Step("always").End
			isWhole := got.Done.GetError() == "" && end.GetExitCode() == 3 && always.GetExited() && always.GetExitCode() == 0
			isKilled := got.Done.GetError() == "the runner was killed" && (end.GetSkipped() || end.GetExitCode() != 0)
			if !isWhole && !isKilled || end.GetExitCode() == 3 && !ran || got.Step("never").End.GetExited() {
				t.Errorf("%v: a %v, never %v, always %v; a has run: %v", got.Done, end, got.Step("never").End, always, ran)
			}
			drained(t, again, w.root)
		})
	}
}

// A stage whose runner is killed at any call ends, runs once at most, and is never green.
func TestDroneStageOfARunnerKilledAtAnyCall(t *testing.T) {
	const (
		request  = "POST /rpc/v2/stage"
		accept   = "POST /rpc/v2/stage/{id}"
		details  = "GET /rpc/v2/stage/{id}"
		putStage = "PUT /rpc/v2/stage/{id}"
		putStep  = "PUT /rpc/v2/step/{id}"
		upload   = "POST /rpc/v2/step/{id}/logs/upload"
		batch    = "POST /rpc/v2/step/{id}/logs/batch"
	)
	d := newDroneRunner(t)
	d.server.Fleet()
	inAStep := killAt{call: batch, after: true}
	for name, moments := range map[string][]killAt{
		"poll":                           {{call: request}},
		"offered":                        {{call: request, after: true}},
		"about to accept":                {{call: accept}},
		"accepted":                       {{call: accept, after: true}},
		"details":                        {{call: details}},
		"about to begin":                 {{call: putStage}},
		"begun":                          {{call: putStage, after: true}},
		"pull":                           {{}},
		"about to tell a step's start":   {{call: putStep}},
		"step has begun":                 {{call: putStep, after: true}},
		"lines":                          {{call: batch}},
		"lines are there":                {inAStep},
		"log":                            {{call: upload}},
		"log is there":                   {{call: upload, after: true}},
		"step's end":                     {{call: putStep, well: 1}},
		"step has ended":                 {{call: putStep, well: 1, after: true}},
		"last step has ended":            {{call: putStep, well: 4, after: true}},
		"end":                            {{call: putStage, well: 1}},
		"has ended":                      {{call: putStage, well: 1, after: true}},
		"twice before it is accepted":    {{call: accept}, {call: accept}},
		"twice when it is accepted":      {{call: accept}, {call: accept, after: true}},
		"accepted, then at the details":  {{call: accept, after: true}, {call: details}},
		"accepted, then begun":           {{call: accept, after: true}, {call: putStage, after: true}},
		"then at the details":            {inAStep, {call: details}},
		"then before the log":            {inAStep, {call: upload}},
		"then after the log":             {inAStep, {call: upload, after: true}},
		"then before a step's start":     {inAStep, {call: putStep}},
		"then after a step's start":      {inAStep, {call: putStep, after: true}},
		"then before a step's end":       {inAStep, {call: putStep, well: 1}},
		"then after a step's end":        {inAStep, {call: putStep, well: 1, after: true}},
		"then at the end, and once more": {inAStep, {call: putStage}, {call: putStage}},
		"then after the end":             {inAStep, {call: putStage, after: true}},
	} {
		t.Run(name, func(t *testing.T) {
			defer d.server.Sound()
			marks, id, pause := t.TempDir(), int64(0), "'true'"
			if moments[0].call == batch {
				pause = "sleep 2" // lines are sent once a second
			}
			arm := func(at killAt, kill func()) {
				if d.server.Sound(); at.after {
					d.server.After(at.call, at.well, kill)
				} else {
					d.server.Before(at.call, at.well, kill)
				}
			}
			push := func(image string) {
				if image == "" {
					image = "$IMAGE"
				}
				id = d.push(`
kind: pipeline
clone: {disable: true}
volumes: [{name: marks, host: {path: "`+marks+`"}}]
steps:
- {name: a, image: `+image+`, volumes: [{name: marks, path: /marks}], commands: [echo one >>/marks/a, echo begun, `+pause+`, echo ended, exit 3]}
- {name: never, image: $IMAGE, commands: ['true']}
- {name: always, image: $IMAGE, commands: [echo cleaned up], when: {status: [failure]}}
`, nil)
			}
			start := func() *exec.Cmd {
				d.server.NoPolls()
				return d.start([]string{"--network", "none"}, "DRONE_RUNNER_CAPACITY=1")
			}
			killed(t, moments, arm, push, start)
			d.server.Sound()
			again := start()
			got := d.server.Ended(id)
			ran, a := ranOnce(t, marks), got.Step("a")
			isWhole := got.Status == "failure" && a.Status == "failure" && a.ExitCode == 3 && got.Step("always").Status == "success"
			isKilled := got.Status == "error" && got.Error == "the runner was killed" && a.Status != "success"
			if !isWhole && !isKilled || a.ExitCode == 3 && !ran || got.Step("never").Status == "success" {
				t.Errorf("%s; a has run: %v", stageText(got), ran)
			}
			drained(t, again, d.root)
		})
	}
}

func stageText(s *servertest.Stage) string {
	text := s.Status + " (" + s.Error + ")"
	for _, step := range s.Steps {
		text += fmt.Sprintf(", %s: %s %d %s %q", step.Name, step.Status, step.ExitCode, step.Error, step.Text())
	}
	return text
}
