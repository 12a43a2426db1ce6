package actions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/actions"
	"github.com/stepexec/stepexec/runner/runnertest"
)

// keeperArg has this program be a keeper, as the hook starts one.
const keeperArg = "be-a-keeper"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == keeperArg {
		beKeeper(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

// beKeeper keeps a job whose images are layouts in dir. The option --bug of a container meets
// a bug of stepexec, and so does the start of a job whose option is --job-bug.
func beKeeper(dir string) {
	read := func(words []string) (o actions.CreateOptions, err error) {
		switch strings.Join(words, " ") {
		case "--bug":
			panic("a bug of stepexec")
		case "--job-bug":
			o.Flags = append(o.Flags, pipeline.Flag{Name: "hostname", Key: "hostname", Value: "bug"})
		}
		return o, nil
	}
	keeper := actions.Keeper{Read: read, Execute: func(ctx context.Context, w run.Work) error {
		for _, s := range w.Pipeline.Services {
			if s.Names.Hostname == "bug" {
				panic("a bug of stepexec")
			}
		}
		return runnertest.Folder(dir).Execute(ctx, w)
	}}
	if err := keeper.Keep(context.Background(), os.Stdin, actions.NewVoice(os.Stdout)); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// job calls the hook in this process; its keeper is a child.
type job struct {
	t     *testing.T
	dir   string
	state json.RawMessage
}

func (j *job) call(command string, args map[string]any) (code int, out string) {
	j.t.Helper()
	log, err := os.CreateTemp(j.dir, "log")
	if err != nil {
		j.t.Fatal(err)
	}
	defer log.Close()
	response := filepath.Join(j.dir, "response.json")
	request, err := json.Marshal(map[string]any{"command": command, "responseFile": response, "args": args, "state": j.state})
	if err != nil {
		j.t.Fatal(err)
	}
	env := map[string]string{"RUNNER_NAME": j.t.Name(), "GITHUB_WORKSPACE": j.dir}
	hook := actions.Hook{
		Root: filepath.Join(j.dir, "root"), Network: "none", Env: func(name string) string { return env[name] },
		Keeper: []string{os.Args[0], keeperArg, j.dir}, Stdout: log, Stderr: log,
	}
	code = hook.Run(context.WithoutCancel(j.t.Context()), bytes.NewReader(request))
	if data, err := os.ReadFile(response); err == nil {
		var r struct{ State json.RawMessage }
		if err := json.Unmarshal(data, &r); err != nil {
			j.t.Fatal(err)
		}
		j.state = r.State
	}
	text, err := os.ReadFile(log.Name())
	if err != nil {
		j.t.Fatal(err)
	}
	return code, string(text)
}

// A call that meets a bug of stepexec fails alone: the job and its other calls go on.
func TestAPanicFailsOneCallAlone(t *testing.T) {
	b := runnertest.New(t)
	j := &job{t: t, dir: b.Dir}
	container := func(options string) map[string]any {
		return map[string]any{"image": "oci:busybox", "entryPoint": "echo", "entryPointArgs": []string{"fine"}, "createOptions": options}
	}
	job := func(options string) map[string]any {
		return map[string]any{"container": map[string]any{"image": "oci:busybox", "createOptions": options}}
	}
	t.Cleanup(func() {
		if code, out := j.call("cleanup_job", nil); code != 0 {
			t.Error(out)
		}
	})
	isBug := func(code int, out string) error {
		for _, want := range []string{"::error::stepexec: stepexec itself failed: this is a bug in stepexec", "panic: a bug of stepexec", "keeper_test.go"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("code %d, without %q: %s", code, want, out)
			}
		}
		if code != 125 {
			return fmt.Errorf("code %d: %s", code, out)
		}
		return nil
	}
	for _, options := range []string{"--bug", "--job-bug"} {
		if err := isBug(j.call("prepare_job", job(options))); err != nil {
			t.Errorf("the start of a job with %s: %v", options, err)
		}
	}
	if code, out := j.call("prepare_job", job("")); code != 0 {
		t.Fatal(out)
	}
	if err := isBug(j.call("run_container_step", container("--bug"))); err != nil {
		t.Errorf("a container: %v", err)
	}
	if code, out := j.call("run_container_step", container("")); code != 0 || out != "fine\n" {
		t.Errorf("the next container: %d, %s", code, out)
	}
	script := map[string]any{"entryPoint": "echo", "entryPointArgs": []string{"the job goes on"}}
	if code, out := j.call("run_script_step", script); code != 0 || out != "the job goes on\n" {
		t.Errorf("a script: %d, %s", code, out)
	}
}
