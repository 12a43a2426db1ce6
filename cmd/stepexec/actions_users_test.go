package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stepexec/stepexec/fixtures/registry"
)

// A user of a container writes what the runner gives it, and the files are the runner's.
func TestHookGivesTheWorkFoldersToTheContainersUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("without root the container's user is another user of the machine")
	}
	image := saying(t, "as user node")
	image.Config.User = "1234:1234"
	built, err := image.Build()
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.Start(t, registry.Options{})
	reg.Push(t, "node:1", built)
	push(t, reg, "root:1", "as root")
	for _, test := range []struct{ name, image, options, user string }{
		{"of options", "/root:1", "--user 1001", "1001:0"},
		{"of options, with a group", "/root:1", "--user 1001:1001", "1001:1001"},
		{"of the image", "/node:1", "", "1234:1234"},
		{"root", "/root:1", "", "0:0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newHookRunner(t, reg.Host)
			if err := os.MkdirAll(filepath.Join(r.dir, "work/_temp/_runner_file_commands"), 0o755); err != nil {
				t.Fatal(err)
			}
			env := filepath.Join(r.dir, "work/_temp/_runner_file_commands/set_env_1")
			if err := os.WriteFile(env, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			r.image = reg.Host + test.image
			r.prepare(t, func(_, container map[string]any) {
				container["createOptions"] = test.options
				container["userMountVolumes"] = []any{map[string]any{"sourceVolumePath": "node-cache", "targetVolumePath": "/cache"}}
			})
			got := r.script(t, "id -u; echo A=1 >> /__w/_temp/_runner_file_commands/set_env_1; mkdir /__w/repo/repo/made; echo x > /__w/repo/repo/made/file; stat -c %u:%g /__w/repo/repo /__w/repo/repo/made/file; echo x > /cache/file")
			uid, _, _ := strings.Cut(test.user, ":")
			if want := uid + "\n" + test.user + "\n" + test.user + "\n"; got.code != 0 || got.out != want {
				t.Errorf("%d, %q; want %q", got.code, got.out, want)
			}
			if data, _ := os.ReadFile(env); string(data) != "A=1\n" {
				t.Errorf("$GITHUB_ENV has %q", data)
			}
			step := r.example(t, "run_container_step")
			step["createOptions"], step["entryPoint"], step["entryPointArgs"] = test.options, "sh", []string{"-c", `": > /github/workspace/by-container"`}
			step["systemMountVolumes"] = []any{map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work/repo/repo"), "targetVolumePath": "/github/workspace"}}
			if got := r.call(t, "run_container_step", step); got.code != 0 {
				t.Errorf("a container step: %d, %q", got.code, got.out)
			}
			for _, name := range []string{"made", "made/file", "by-container"} {
				info, err := os.Stat(filepath.Join(r.dir, "work/repo/repo", name))
				if err != nil {
					t.Error(err)
				} else if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 || owner.Gid != 0 {
					t.Errorf("%s belongs to %d:%d; want the runner's 0:0", name, owner.Uid, owner.Gid)
				}
			}
		})
	}
}

// The runner's own folders are mounted under any policy; what a workflow adds is not.
func TestHookKeepsToAPolicyFile(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	for file, text := range map[string]string{"sample": "", "strict": "networks: [private]\nports: [\"127.0.0.1:1-65535\"]\n"} {
		path := filepath.Join(t.TempDir(), "policy.yml")
		if file == "sample" {
			data, err := os.ReadFile("../../contrib/policy-hook.yml")
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r.flags = "--policy " + path
		args := r.withServices(t, r.serviceOf("exec sleep 1000", ""))
		delete(args["container"].(map[string]any), "userMountVolumes")
		if got := r.call(t, "prepare_job", args); got.code != 0 {
			t.Errorf("%s: a job: %d, %s", file, got.code, got.out)
		}
		if got := r.script(t, ": > /__w/repo/repo/file && echo written"); got.out != "written\n" {
			t.Errorf("%s: a script: %d, %s", file, got.code, got.out)
		}
		args["container"].(map[string]any)["userMountVolumes"] = []any{map[string]any{"sourceVolumePath": "/etc", "targetVolumePath": "/x"}}
		if got := r.call(t, "prepare_job", args); got.code != 125 || !strings.Contains(got.out, "/etc") {
			t.Errorf("%s: a mount of /etc: %d, %s", file, got.code, got.out)
		}
	}
}

func TestHookSaysWhatIsWrongWithTheRunnersFolder(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	cmd := r.command(t, map[string]any{"command": "prepare_job", "args": r.withServices(t)})
	cmd.Env = append(cmd.Env, "RUNNER_TEMP="+filepath.Join(r.dir, "work"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "a runner's is WORK/_temp") {
		t.Errorf("%v: %s", err, out)
	}
}
