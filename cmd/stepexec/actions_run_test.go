package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures"
)

// buildAct builds act, which runs workflows on this machine; GitHub's own runner is no
// package.
func buildAct(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "act")
	build := exec.Command("go", "build", "-o", file, "github.com/nektos/act")
	build.Dir = "../../fixtures/act"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v: %s", err, out)
	}
	return file
}

// workflow is a repository with a pipeline and a workflow that uses the action by a tag.
type workflow struct {
	act, dir, home string
}

const actionPipeline = `
steps:
  - name: build
    image: oci:busybox
    environment: {TOKEN: {from_secret: TOKEN}}
    commands:
      - echo "building with $TOKEN"
      - echo "::error::from a step"
  - name: test
    image: oci:busybox
    commands:
      - echo "$MODE" > mode
      - exit $MODE
    artifacts: {paths: mode, when: always}
  - {name: deploy, image: 'oci:busybox', commands: [echo never]}
`

// %s is the state root.
const actionWorkflow = `
on: push
jobs:
  test:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - id: ci
        uses: acme/stepexec@v1
        continue-on-error: true
        with:
          file: pipeline.yml
          report: junit.xml
          artifacts: collected
          root: %[1]s
          binary: %[2]s
          env: |
            MODE=%[3]s
            OTHER
          secrets: |
            TOKEN=hunter2-of-the-action
        env:
          OTHER: job
          HARMFUL: $(touch /tmp/never)
      - shell: bash
        run: |
          echo "code=${{ steps.ci.outputs.exit-code }} status=${{ steps.ci.outputs.status }} failed=${{ steps.ci.outputs.failed-step }}."
          echo "total=${{ steps.ci.outputs.steps-total }} bad=${{ steps.ci.outputs.steps-failed }} skipped=${{ steps.ci.outputs.steps-skipped }} outcome=${{ steps.ci.outcome }}."
          test -n "${{ steps.ci.outputs.duration-ms }}"
          grep -q '"version"' "${{ steps.ci.outputs.report }}"
          ls "${{ steps.ci.outputs.log-dir }}/record.json"
          echo "collected $(cat collected/test/mode)."
`

// dryWorkflow has the inputs that do not lead to a run. %s is the state root.
const dryWorkflow = `
on: push
jobs:
  test:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - id: ci
        uses: acme/stepexec@v1
        with: {file: pipeline.yml, dry-run: true, include: test, network: none, cache-dir: '%[1]s', binary: '%[2]s', env: 'MODE=%[3]s', secrets: TOKEN=x}
      - shell: bash
        run: echo "code=${{ steps.ci.outputs.exit-code }} status=${{ steps.ci.outputs.status }} total=${{ steps.ci.outputs.steps-total }}."
`

func newWorkflow(t *testing.T, act, text string) *workflow {
	t.Helper()
	w := &workflow{act: act, dir: t.TempDir(), home: t.TempDir()}
	if err := fixtures.Busybox(filepath.Join(w.dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	w.write(t, "pipeline.yml", actionPipeline)
	w.write(t, ".github/workflows/ci.yml", text)
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "a"}} {
		git := exec.Command("git", args...)
		git.Dir = w.dir
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	return w
}

func (w *workflow) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// command runs the workflow, with no docker to be found.
func (w *workflow) command(t *testing.T) *exec.Cmd {
	t.Helper()
	action, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(w.act, "push", "--json", "-P", "self-hosted=-self-hosted", "--no-cache-server", "--local-repository", "acme/stepexec@v1="+action)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.home, "XDG_CACHE_HOME="+filepath.Join(w.home, ".cache"), "DOCKER_HOST=unix:///nonexistent", "CI=", "STEPEXEC_SETTINGS=/dev/null")
	return cmd
}

func stepexecOnPath(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("stepexec")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// logOf are the messages of act's log.
func logOf(t *testing.T, out []byte) string {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(string(out)) {
		var entry struct{ Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			text.WriteString(line)
			continue
		}
		text.WriteString(strings.TrimSuffix(entry.Msg, "\n") + "\n")
	}
	return text.String()
}

func TestActionInAWorkflow(t *testing.T) {
	act, program := buildAct(t), stepexecOnPath(t)
	tests := []struct {
		name, workflow, mode string
		want, never          []string
	}{
		{"success", actionWorkflow, "0", []string{"code=0 status=success failed=.", "total=3 bad=0 skipped=0 outcome=success.", "building with ***", "record.json", "collected 0."}, nil},
		{"failure", actionWorkflow, "7", []string{"code=7 status=failure failed=test.", "total=3 bad=1 skipped=1 outcome=failure.", "building with ***", "record.json", "collected 7.",
			"step test failed: its command ended with exit code 7 (its output is in the group “step test (oci:busybox)” of the log)"}, nil},
		{"dry run", dryWorkflow, "0", []string{"code=0 status=success total=0.", "test    yes ", "nothing was pulled or started"}, []string{"building with", "::group::step"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			w := newWorkflow(t, act, fmt.Sprintf(test.workflow, root, program, test.mode))
			out, err := w.command(t).CombinedOutput()
			log := logOf(t, out)
			if err != nil {
				t.Fatalf("%v: %s", err, log)
			}
			for _, want := range test.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %q", want)
				}
			}
			for _, never := range test.never {
				if strings.Contains(log, never) {
					t.Errorf("the log has %q", never)
				}
			}
			if strings.Contains(log, "hunter2") {
				t.Error("the log has a secret")
			}
			if t.Failed() {
				t.Log(log)
			}
			if left := (&killing{root: root}).left(t); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestActionIsCancelledInTimeAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	root, started := filepath.Join(dir, "root"), filepath.Join(dir, "started")
	pipeline := "steps: [{name: deaf, image: 'oci:busybox', commands: [\"trap '' TERM INT; echo x > started; while :; do sleep 1; done\"]}]\n"
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yml"), []byte(pipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../contrib/action/run.sh")
	if err != nil {
		t.Fatal(err)
	}
	outputs := filepath.Join(dir, "outputs")
	cmd := exec.Command("bash", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "INPUT_ROOT="+root, "INPUT_BINARY="+stepexecOnPath(t), "GITHUB_OUTPUT="+outputs, "RUNNER_TEMP="+dir, "GITHUB_ACTION_PATH="+filepath.Dir(filepath.Dir(filepath.Dir(script))), "STEPEXEC_SETTINGS=/dev/null")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, started)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// The runner's second signal, which kills what is still there. It must not be needed.
	second := time.AfterFunc(7500*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("ended with %v", err)
	}
	if !second.Stop() {
		t.Log("only the second signal ended it") // on a machine that is very slow
	}
	data, err := os.ReadFile(outputs)
	if err != nil || !strings.Contains(string(data), "status=cancelled\n") || !strings.Contains(string(data), "exit-code=130\n") {
		t.Errorf("%v, outputs %s", err, data)
	}
	if left := (&killing{root: root}).left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestActionSaysWhatIsWrongBeforeAnythingRuns(t *testing.T) {
	script, err := filepath.Abs("../../contrib/action/run.sh")
	if err != nil {
		t.Fatal(err)
	}
	program := stepexecOnPath(t)
	tests := []struct {
		name string
		env  []string
		want string
	}{
		{"no such program", []string{"INPUT_BINARY=/nonexistent"}, "::error title=stepexec::input binary: there is no program /nonexistent"},
		{"another version", []string{"INPUT_BINARY=" + program, "INPUT_VERSION=v99.0.0"}, "version v99.0.0 is asked for"},
		{"nothing to build with", []string{"PATH=/usr/bin:/bin"}, "there is no stepexec on PATH, and no go"},
		{"bad secret", []string{"INPUT_BINARY=" + program, "INPUT_SECRETS==hunter2"}, "input secrets: line 1"},
		{"bad flag", []string{"INPUT_BINARY=" + program, "INPUT_ARGS=--blink"}, "unknown flag: --blink"},
		{"no file", []string{"INPUT_BINARY=" + program, "INPUT_FILE=none.yml"}, "none.yml"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			outputs := filepath.Join(t.TempDir(), "outputs")
			cmd := exec.Command("/bin/bash", script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(append(os.Environ(), "GITHUB_OUTPUT="+outputs, "GITHUB_ACTION_PATH="+filepath.Dir(filepath.Dir(filepath.Dir(script)))), test.env...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(string(out), test.want) || !strings.Contains(string(out), "::error") || strings.Contains(string(out), "hunter2") {
				t.Errorf("%v: %s", err, out)
			}
			if data, err := os.ReadFile(outputs); err != nil || !strings.Contains(string(data), "exit-code=125\n") || !strings.Contains(string(data), "status=error\n") {
				t.Errorf("%v, outputs %q", err, data)
			}
		})
	}
}

// The program becomes the step of the action, whose variables are the inputs.
func TestActionShowsADryRun(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "good.yml"), []byte("steps: [{name: build, image: 'oci:nowhere', commands: ['true']}]\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "bad.yml"), []byte("steps: 7\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{"good.yml": {"build", "exit-code=0\nstatus=success\n"}, "bad.yml": {"bad.yml:1:", "exit-code=125\nstatus=error\n"}} {
		output := filepath.Join(t.TempDir(), "output")
		cmd := exec.Command("stepexec", "actions-run")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "INPUT_FILE="+file, "INPUT_DRY_RUN=true", "INPUT_REPORT=r.md", "RUNNER_TEMP="+dir, "GITHUB_OUTPUT="+output, "GITHUB_ACTIONS=true", "STEPEXEC_SETTINGS=/dev/null")
		out, err := cmd.CombinedOutput()
		outputs, readErr := os.ReadFile(output)
		if (err == nil) != (file == "good.yml") || readErr != nil || !strings.Contains(string(out), want[0]) || !strings.HasPrefix(string(outputs), want[1]) {
			t.Errorf("%s: %v: %s\noutputs: %v, %s", file, err, out, readErr, outputs)
		}
	}
}
