package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stepexec/stepexec/fixtures/registry"
)

// A user of a container writes what the runner gives it, and the files are the runner's.
func TestHookGivesTheWorkFoldersToTheContainersUser(t *testing.T) {
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
			removedAtTheEnd(t, filepath.Join(r.root, "caches"))
			commands := filepath.Join(r.dir, "work/_temp/_runner_file_commands")
			if err := errors.Join(os.MkdirAll(commands, 0o755), os.MkdirAll(filepath.Join(r.dir, "work/repo/repo/old"), 0o755)); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{commands + "/set_env_1", filepath.Join(r.dir, "work/repo/repo/old/file")} {
				if err := os.WriteFile(file, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r.image = reg.Host + test.image
			r.prepare(t, func(_, container map[string]any) {
				container["createOptions"] = test.options
				container["userMountVolumes"] = []any{map[string]any{"sourceVolumePath": "node-cache", "targetVolumePath": "/cache"}}
			})
			if err := os.WriteFile(commands+"/set_output_1", nil, 0o644); err != nil { // of the step
				t.Fatal(err)
			}
			got := r.script(t, "id -u; cd /__w/repo/repo; echo A=1 >> /__w/_temp/_runner_file_commands/set_env_1; echo b=2 >> /__w/_temp/_runner_file_commands/set_output_1; "+
				"mkdir made; echo x > made/file; chmod +x made/file; ln -s file made/link; echo x > old/file; mv old/file old/moved; stat -c %u:%g made made/file; echo x > /cache/file")
			uid, _, _ := strings.Cut(test.user, ":")
			if want := uid + "\n" + test.user + "\n" + test.user + "\n"; got.code != 0 || got.out != want {
				t.Errorf("%d, %q; want %q", got.code, got.out, want)
			}
			if got := r.script(t, "stat -c %u:%g /__w/repo/repo"); os.Getuid() == 0 && got.out != test.user+"\n" {
				t.Errorf("the workspace belongs to %q; want %q", got.out, test.user)
			}
			for file, want := range map[string]string{"set_env_1": "A=1\n", "set_output_1": "b=2\n"} {
				if data, err := os.ReadFile(filepath.Join(commands, file)); err != nil || string(data) != want {
					t.Errorf("%s has %q, %v", file, data, err)
				}
			}
			step := r.example(t, "run_container_step")
			step["createOptions"], step["entryPoint"], step["entryPointArgs"] = test.options, "sh", []string{"-c", `": > /github/workspace/by-container"`}
			step["systemMountVolumes"] = []any{map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work/repo/repo"), "targetVolumePath": "/github/workspace"}}
			if got := r.call(t, "run_container_step", step); got.code != 0 {
				t.Errorf("a container step: %d, %q", got.code, got.out)
			}
			if got := r.script(t, "chmod 600 /__w/repo/repo/made/file"); got.code != 0 {
				t.Errorf("a file of the same job: %d, %q", got.code, got.out)
			}
			if got := r.call(t, "cleanup_job", nil); got.code != 0 {
				t.Errorf("clean-up: %d, %q", got.code, got.out)
			}
			for _, name := range []string{"made", "made/file", "made/link", "old/moved", "by-container"} {
				info, err := os.Lstat(filepath.Join(r.dir, "work/repo/repo", name))
				if err != nil {
					t.Error(err)
				} else if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != os.Getuid() || int(owner.Gid) != os.Getgid() {
					t.Errorf("%s belongs to %d:%d; want the runner's %d:%d", name, owner.Uid, owner.Gid, os.Getuid(), os.Getgid())
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
