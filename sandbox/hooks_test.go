package sandbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/sandbox"
)

const hookPath = "PATH=" + sandbox.DefaultPath

// dump is a hook that writes its environment, its directory and its arguments to a file.
func dump(t *testing.T) (hook, file string) {
	t.Helper()
	dir := t.TempDir()
	hook, file = filepath.Join(dir, "hook"), filepath.Join(dir, "dump")
	write(t, hook, "#!/bin/busybox sh\n/bin/busybox cat >/dev/null\n{ /bin/busybox env; /bin/busybox pwd -P; echo \"$@\"; } >>"+file+"\n")
	must(t, os.Chmod(hook, 0o755))
	return hook, file
}

// hostile is a step whose image and variables would lead a hook that took them over astray.
func hostile(t *testing.T) *sandbox.Step {
	t.Helper()
	step := script(t, "true")
	step.Config.Env = []string{"LD_PRELOAD=./evil.so", "BASH_ENV=./evil.sh", "ENV=./evil.sh"}
	step.Env = []string{"LD_LIBRARY_PATH=.", "TOKEN=secret"}
	return step
}

func assertConfined(t *testing.T, file string, kinds int, env ...string) {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	seen := 0
	for line := range strings.Lines(string(data)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "/":
			seen++
		case line == "-- an argument", strings.HasPrefix(line, "PWD="), strings.HasPrefix(line, "SHLVL="), strings.HasPrefix(line, "OLDPWD="), strings.HasPrefix(line, "_="):
		case strings.Contains("\n"+strings.Join(env, "\n")+"\n", "\n"+line+"\n"):
		default:
			t.Errorf("the hook has %q", line)
		}
	}
	if seen != kinds || strings.Count(string(data), "-- an argument\n") != kinds {
		t.Errorf("%d of %d hooks began in /:\n%s", seen, kinds, data)
	}
}

func TestHooksOfDevicesGetNothingOfTheImage(t *testing.T) {
	t.Setenv("RUNNER_TOKEN", "secret") // stepexec's own
	for _, kind := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		t.Run(kind, func(t *testing.T) {
			hook, file := dump(t)
			cdi := t.TempDir()
			write(t, filepath.Join(cdi, "example.json"), fmt.Sprintf(`{"cdiVersion": "0.6.0", "kind": "example.com/gauge", "devices": [{"name": "all",
				"containerEdits": {"hooks": [
					{"hookName": %[1]q, "path": %[2]q, "args": ["hook", "--", "an", "argument"]},
					{"hookName": %[1]q, "path": %[2]q, "args": ["hook", "--", "an", "argument"], "env": ["OWN=yes"]}]}}]}`, kind, hook))
			host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), CDIDirs: []string{cdi}})
			must(t, err)
			defer func() { must(t, host.Close()) }()
			step := hostile(t)
			step.Security.CDI = []string{"example.com/gauge=all"}
			if _, stderr, exit := output(t, host, step); exit.Code != 0 {
				t.Fatalf("exit code %d, %s", exit.Code, stderr)
			}
			assertConfined(t, file, 2, hookPath, "OWN=yes", "PATH=/sbin:/usr/sbin:/bin:/usr/bin") // the last is busybox's when it gets none
		})
	}
}

func TestHooksOfSpecsGetNothingOfTheImage(t *testing.T) {
	hook, file := dump(t)
	one := []specs.Hook{{Path: hook, Args: []string{"hook", "--", "an", "argument"}}}
	inside := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "env >/hooked"}}}
	patch, err := json.Marshal(map[string]any{"hooks": specs.Hooks{CreateRuntime: one, CreateContainer: one, StartContainer: inside, Poststop: one}})
	must(t, err)
	step := hostile(t)
	step.Script = []byte("cat /hooked")
	step.Advanced.SpecPatch = patch
	got, stderr, exit := output(t, openHost(t), step)
	if exit.Code != 0 || !strings.Contains(got, hookPath) || strings.Contains(got, "evil") || strings.Contains(got, "secret") {
		t.Errorf("code %d, the hook in the container has %q; %s", exit.Code, got, stderr)
	}
	assertConfined(t, file, 3, hookPath)
}
