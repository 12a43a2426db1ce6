package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/servertest"
)

// woodpeckerRunner is the program at work for a server, with a registry that wants a login.
type woodpeckerRunner struct {
	t             testing.TB
	server        *servertest.Server
	dir, root     string
	open, private string   // images
	variables     []string // NAME=value of the program's environment, beside those that every test has
	out           buffer
}

// buffer is written to by one goroutine and read by another.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

func newWoodpeckerRunner(t testing.TB) *woodpeckerRunner {
	t.Helper()
	w := &woodpeckerRunner{t: t, server: servertest.New(t, nil), dir: t.TempDir()}
	w.root = filepath.Join(w.dir, "root")
	layout := filepath.Join(w.dir, "busybox")
	if err := fixtures.Busybox(layout); err != nil {
		t.Fatal(err)
	}
	image, err := fixtures.FromLayout(layout, "latest")
	if err != nil {
		t.Fatal(err)
	}
	open := registry.Start(t, registry.Options{})
	locked := registry.Start(t, registry.Options{Users: map[string]string{"ci": "s3cret-password"}})
	open.Push(t, "busybox:latest", image)
	locked.Push(t, "busybox:latest", image)
	w.open, w.private = open.Host+"/busybox", locked.Host+"/busybox"
	return w
}

// start starts the program with more arguments.
func (w *woodpeckerRunner) start(args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command("stepexec", append([]string{"runner", "woodpecker", "--root", w.root, "--network", "none"}, args...)...)
	cmd.Env = append(os.Environ(), "WOODPECKER_SERVER="+w.server.Address(), "WOODPECKER_AGENT_SECRET="+servertest.Secret, "WOODPECKER_HOSTNAME=test",
		"WOODPECKER_AGENT_CONFIG_FILE="+filepath.Join(w.dir, "agent.conf"), "WOODPECKER_MAX_WORKFLOWS=10", "STEPEXEC_SETTINGS=/dev/null", "DOCKER_CONFIG="+w.dir)
	cmd.Env = append(cmd.Env, w.variables...)
	cmd.Stderr = &w.out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Log(w.out.String())
		}
	})
	return cmd
}

func (w *woodpeckerRunner) step(name string, commands ...string) *workflows.Step {
	return &workflows.Step{
		Name: name, Type: workflows.TypeCommands, Image: w.open, Commands: commands, OnSuccess: true, WorkspaceBase: "/woodpecker", WorkingDir: "/woodpecker/src",
		Volumes: []string{"wp:/woodpecker"}, Environment: map[string]string{"CI": "woodpecker"},
	}
}

func (w *woodpeckerRunner) push(steps ...*workflows.Step) string {
	config := &workflows.Config{Volume: "wp"}
	for _, s := range steps {
		config.Stages = append(config.Stages, workflows.Stage{Steps: []*workflows.Step{s}})
	}
	return w.server.Push(config, 0, nil)
}

func TestRunnerWoodpecker(t *testing.T) {
	w := newWoodpeckerRunner(t)
	policy := filepath.Join(w.dir, "policy.yml")
	if err := os.WriteFile(policy, []byte("networks: [none]\nprivileged_images: ["+strings.Split(w.open, "/")[0]+"/busybox]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := w.start("--policy", policy)
	private := w.step("private", "echo pulled")
	private.Image, private.AuthConfig = w.private, workflows.Auth{Username: "ci", Password: "s3cret-password"}
	if got := w.server.Ended(w.push(w.step("a", "echo $CI_MACHINE"), private)); !strings.HasSuffix(strings.Join(got.Step("private").Lines, "\n"), "+ echo pulled\npulled") { // a pull that takes long is told before
		t.Errorf("private: %q %v", got.Step("private").Lines, got.Step("private").End)
	}
	for what, c := range map[string]struct {
		change func(*workflows.Step)
		want   string // of the error; "": none
	}{
		"an image of the machine":  {func(s *workflows.Step) { s.Image = "rootfs:/" }, "/"},
		"a folder of the machine":  {func(s *workflows.Step) { s.Volumes = append(s.Volumes, "/etc:/host") }, "/etc is not allowed"},
		"a cache":                  {func(s *workflows.Step) { s.Volumes = append(s.Volumes, "shared:/cache") }, "cache: shared is not allowed"},
		"the host's network":       {func(s *workflows.Step) { s.NetworkMode = "host" }, "network: host is not allowed"},
		"commands with privileges": {func(s *workflows.Step) { s.Privileged = true }, "commands"},
		"a plugin with privileges": {func(s *workflows.Step) { s.Privileged, s.Type, s.Commands = true, workflows.TypePlugin, nil }, ""},
		"a plugin with privileges and an entry of its own": {func(s *workflows.Step) {
			s.Privileged, s.Type, s.Commands, s.Entrypoint = true, workflows.TypePlugin, nil, []string{"/bin/sh"}
		}, "entrypoint"},
	} {
		s := w.step("a", "true")
		c.change(s)
		got := w.server.Ended(w.push(s))
		end := got.Step("a").End
		if c.want == "" && (end.GetError() != "" || end.GetExitCode() != 0) || c.want != "" && (!strings.Contains(end.GetError(), c.want) || end.GetExitCode() != 125 || got.Done.GetError() == "") {
			t.Errorf("%s: %v, %v", what, end, got.Done)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("drained: %v", err)
	}
	if !strings.Contains(w.out.String(), "takes no more work") {
		t.Error("it does not say that it drains")
	}
}

// A runner that was killed leaves nothing: its guard clears away, and the next one begins anew.
func TestRunnerThatIsKilledLeavesNothing(t *testing.T) {
	w := newWoodpeckerRunner(t)
	cmd := w.start()
	id := w.push(w.step("a", "echo begun", "sleep 1000"))
	w.server.Until("the step to sleep", func() bool { return len(w.server.Get(id).Step("a").Lines) > 2 })
	guard := guardOf(cmd.Process.Pid)
	_ = cmd.Process.Kill()
	killPID(guard)
	_ = cmd.Wait()
	runs, err := os.ReadDir(filepath.Join(w.root, "runs"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	w.server.NoPolls()
	again := w.start()
	if got := w.server.Ended(w.push(w.step("b", "echo again"))); got.Step("b").End.GetExitCode() != 0 {
		t.Errorf("%v", got.Step("b").End)
	}
	if !strings.Contains(w.out.String(), "cleared away runs of an earlier runner that died: "+runs[0].Name()) {
		t.Error("it does not say what it cleared away")
	}
	if killed := w.server.Ended(id); killed.Done.GetError() != "the runner was killed" || !strings.Contains(strings.Join(killed.Step("a").Lines, "\n"), "begun\n+ sleep 1000\nstepexec: the runner was killed") {
		t.Errorf("the workflow of the killed runner: %v, %q", killed.Done, killed.Step("a").Lines)
	}
	_ = again.Process.Signal(syscall.SIGTERM)
	if err := again.Wait(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(w.root, "runs")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %d runs, %v", len(left), err)
	}
}

// The server vanishes while a step runs, the step fails, and the runner is killed before the
// server is back: the next runner reports how the step really ended.
func TestResultsSurviveAnOutageAndAKill(t *testing.T) {
	w := newWoodpeckerRunner(t)
	cmd := w.start()
	id := w.push(w.step("a", "echo begun", "sleep 2", "echo ended", "exit 3"))
	w.server.Until("the step to run", func() bool { return len(w.server.Get(id).Step("a").Lines) > 1 })
	w.server.Stop()
	isKept := func() bool {
		files, _ := filepath.Glob(filepath.Join(w.root, "runner", "*", "*.jsonl")) // some are of workflows to come
		return slices.ContainsFunc(files, func(file string) bool {
			kept, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(kept), `"exited":true`)
		})
	}
	for patience := time.Now().Add(time.Minute); !isKept(); time.Sleep(20 * time.Millisecond) { // nobody tells of it
		if time.Now().After(patience) {
			t.Fatal("the end of the step is not on disk")
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.server.Start()
	w.start()
	got := w.server.Ended(id)
	if end := got.Step("a").End; end.GetExitCode() != 3 || !strings.Contains(strings.Join(got.Step("a").Lines, "\n"), "\nended") {
		t.Errorf("%v, %q", end, got.Step("a").Lines)
	}
}

func TestRunnerSaysWhatIsWrongWithItsEnvironment(t *testing.T) {
	for variable, want := range map[string]string{
		"WOODPECKER_MAX_WORKFLOWS=many":                `$WOODPECKER_MAX_WORKFLOWS: "many" is not a whole number`,
		"WOODPECKER_MAX_WORKFLOWS=0":                   `$WOODPECKER_MAX_WORKFLOWS: "0" is not 1 or more`,
		"WOODPECKER_SERVER=localhost:99999":            "must be HOST:PORT",
		"WOODPECKER_AGENT_LABELS=a,b=":                 `$WOODPECKER_AGENT_LABELS: "a" is not NAME=VALUE`,
		"WOODPECKER_GRPC_SECURE=maybe":                 `$WOODPECKER_GRPC_SECURE: "maybe" is not true or false`,
		"WOODPECKER_RETRY_TIMEOUT=2":                   `$WOODPECKER_RETRY_TIMEOUT: "2" is not a duration`,
		"WOODPECKER_AGENT_SECRET_FILE=/nowhere/at/all": `$WOODPECKER_AGENT_SECRET_FILE: open /nowhere/at/all`,
		"WOODPECKER_SERVER=https://ci.example.com":     `without a scheme`,
		"WOODPECKER_AGENT_SECRET=":                     `no secret is given`,
	} {
		cmd := exec.Command("stepexec", "runner", "woodpecker", "--root", t.TempDir(), "--network", "none")
		cmd.Env = append(os.Environ(), "WOODPECKER_SERVER=127.0.0.1:1", "WOODPECKER_AGENT_SECRET=x", "WOODPECKER_AGENT_CONFIG_FILE=", "STEPEXEC_SETTINGS=/dev/null", variable)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", variable, err, out)
		}
	}
}
