package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeAction writes the files of an action as the runner keeps it, and returns its Dockerfile.
func (r *hookRunner) writeAction(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(r.dir, "work/_actions", name)
	for file, text := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "Dockerfile")
}

// insecure lets buildah ask a test's registry without TLS.
func insecure(t *testing.T, host string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[[registry]]\nlocation = %q\ninsecure = true\n", host), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", file)
}

// newBuildRunner is a runner whose actions buildah builds from images of a registry of its own.
func newBuildRunner(t *testing.T) *hookRunner {
	t.Helper()
	host := hookImages(t)
	insecure(t, host)
	r := newHookRunner(t, host)
	removedAtTheEnd(t, filepath.Join(r.root, "buildah"))
	return r
}

// build runs the action of a Dockerfile, and returns what the hook printed and how it ended. Each
// line is shown to see at once.
func (r *hookRunner) build(t *testing.T, dockerfile string, see func(line string, hook *os.Process) error) (printed string, err error) {
	t.Helper()
	cmd := r.command(t, map[string]any{"command": "run_container_step", "state": map[string]any{}, "args": map[string]any{"dockerfile": dockerfile}})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if err := see(lines.Text(), cmd.Process); err != nil {
			t.Error(err)
		}
	}
	return all.String(), cmd.Wait()
}

// removedAtTheEnd removes a folder before the test's own folders are, as the root of the user's
// subordinate ids: files of images belong to those.
func removedAtTheEnd(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	t.Cleanup(func() {
		out, err := exec.Command("unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", dir).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestHookBuildsActions(t *testing.T) {
	r := newBuildRunner(t)
	hello := r.writeAction(t, "octo/hello/v1", map[string]string{
		"Dockerfile":    "FROM " + r.image + "\nCOPY entrypoint.sh /entrypoint.sh\nENTRYPOINT [\"/entrypoint.sh\"]\n",
		"entrypoint.sh": "#!/bin/sh -l\necho \"Hello $1\"\necho \"time=$INPUT_WHO\" >> $GITHUB_OUTPUT\n",
	})
	stages := r.writeAction(t, "octo/stages/v2", map[string]string{
		"Dockerfile":  "FROM " + r.image + " AS build\nWORKDIR /src\nCOPY src/ .\nRUN mkdir /out && cat part-* > /out/tool && echo ::error::not-for-the-runner\nFROM " + r.image + "\nCOPY --from=build /out/tool /usr/local/bin/tool\nUSER 1000\nENTRYPOINT [\"sh\", \"/usr/local/bin/tool\"]\n",
		"src/part-1":  "id -u\n",
		"src/part-2":  "echo built in stages\n",
		"cleanup.sh":  "echo post\n",
		".dockerfile": "",
	})
	args := r.writeAction(t, "octo/args/v3", map[string]string{
		"Dockerfile": "ARG BASE=" + r.image + "\nFROM $BASE\nARG VERSION=1.2\nENV TOOL_VERSION=$VERSION\nCOPY post.sh /\nCMD [\"sh\", \"-c\", \"echo version $TOOL_VERSION\"]\n",
		"post.sh":    "echo cleaned up\n",
	})
	output := filepath.Join(r.dir, "work/_temp/output")
	run := func(dockerfile string, change map[string]any) hookResult {
		t.Helper()
		step := r.example(t, "run_container_step")
		for _, key := range []string{"image", "entryPoint", "entryPointArgs"} {
			delete(step, key)
		}
		step["dockerfile"] = dockerfile
		step["systemMountVolumes"] = []any{map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work/_temp"), "targetVolumePath": "/github/file_commands"}}
		step["environmentVariables"] = map[string]any{"GITHUB_OUTPUT": "/github/file_commands/output", "INPUT_WHO": "now"}
		for key, value := range change {
			step[key] = value
		}
		return r.call(t, "run_container_step", step)
	}
	for _, job := range []string{"of a job without containers", "of a job"} {
		if job == "of a job" {
			r.prepare(t, nil)
		}
		got := run(hello, map[string]any{"entryPointArgs": []string{`"Mona`, `Lisa"`}})
		if got.code != 0 || !strings.HasPrefix(got.out, "::group::build "+hello+"\n::stop-commands::") || !strings.HasSuffix(got.out, "::endgroup::\nHello Mona Lisa\n") {
			t.Errorf("%s: FROM and COPY: %d, %s", job, got.code, got.out)
		}
		if data, err := os.ReadFile(output); err != nil || !strings.Contains(string(data), "time=now\n") {
			t.Errorf("%s: $GITHUB_OUTPUT: %v, %q", job, err, data)
		}
		if got := run(stages, nil); got.code != 0 || !strings.HasSuffix(got.out, "::endgroup::\n1000\nbuilt in stages\n") {
			t.Errorf("%s: several stages: %d, %s", job, got.code, got.out)
		}
		if got := run(args, nil); got.code != 0 || !strings.HasSuffix(got.out, "::endgroup::\nversion 1.2\n") {
			t.Errorf("%s: ARG: %d, %s", job, got.code, got.out)
		}
		if got := run(args, map[string]any{"entryPoint": "sh", "entryPointArgs": []string{"/post.sh"}}); got.code != 0 || !strings.HasSuffix(got.out, "::endgroup::\ncleaned up\n") {
			t.Errorf("%s: the action's post entrypoint: %d, %s", job, got.code, got.out)
		}
	}
	r.writeAction(t, "octo/hello/v1", map[string]string{"entrypoint.sh": "#!/bin/sh\necho changed\n"})
	if got := run(hello, nil); got.code != 0 || !strings.HasSuffix(got.out, "::endgroup::\nchanged\n") {
		t.Errorf("a changed context: %d, %s", got.code, got.out)
	}
	alone := r.writeAction(t, "octo/alone/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\n"})
	if got := run(alone, map[string]any{"entryPoint": "echo", "entryPointArgs": []string{"of the base"}}); got.code != 0 || !strings.HasSuffix(got.out, "::endgroup::\nof the base\n") {
		t.Errorf("FROM alone: %d, %s", got.code, got.out)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), r.root+"/buildah") {
		t.Errorf("left behind: mounts of a build of FROM alone: %v", err)
	}
	broken := r.writeAction(t, "octo/broken/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\nRUN exit 3\n"})
	if got := run(broken, nil); got.code != 125 || !strings.Contains(got.out, "::error::stepexec: build the action's image from "+broken) {
		t.Errorf("a build that fails: %d, %s", got.code, got.out)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), r.root+"/buildah") {
		t.Errorf("left behind: mounts of a build that failed: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "Dockerfile"), []byte("FROM "+r.image+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(r.dir, "work/repo/repo/link")); err != nil {
		t.Fatal(err)
	}
	if got := run(filepath.Join(r.dir, "work/repo/repo/link/Dockerfile"), nil); got.code != 125 || !strings.Contains(got.out, "outside of the runner's work folder") {
		t.Errorf("a link out of the work folder: %d, %s", got.code, got.out)
	}
}

// What a policy refuses is not built: RUN would run before the container is refused.
func TestHookBuildsNothingThatThePolicyRefuses(t *testing.T) {
	r := newHookRunner(t, "127.0.0.1:1")
	file := filepath.Join(t.TempDir(), "policy.yml")
	if err := os.WriteFile(file, []byte("networks: [host]\nimages: {deny: [\"actions.stepexec.invalid/**\"]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.flags += " --policy " + file
	dockerfile := r.writeAction(t, "octo/hello/v1", map[string]string{"Dockerfile": "FROM scratch\n"})
	got := r.call(t, "run_container_step", map[string]any{"dockerfile": dockerfile})
	if got.code != 125 || !strings.Contains(got.out, "actions.stepexec.invalid/built") || strings.Contains(got.out, "::group::build") {
		t.Errorf("%d, %s", got.code, got.out)
	}
}

// A process of the job puts a link in the place of the context while RUN goes on.
func TestHookBuildsOfTheContextThatItHasChecked(t *testing.T) {
	r := newBuildRunner(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("of the machine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dockerfile := r.writeAction(t, "octo/swap/v1", map[string]string{
		"Dockerfile": "FROM " + r.image + "\nRUN --mount=type=bind,target=/context for i in $(seq 300); do [ -e /context/go ] && exit 0; sleep 0.1; done; exit 1\nCOPY file /file\nENTRYPOINT [\"cat\", \"/file\"]\n",
		"file":       "of the action\n",
	})
	dir := filepath.Dir(dockerfile)
	printed, err := r.build(t, dockerfile, func(line string, _ *os.Process) error {
		if !strings.HasPrefix(line, "STEP 2/4: RUN") {
			return nil
		}
		return errors.Join(os.Rename(dir, dir+".away"), os.Symlink(outside, dir), os.WriteFile(filepath.Join(dir+".away", "go"), nil, 0o644))
	})
	if err != nil || !strings.HasSuffix(printed, "::endgroup::\nof the action\n") {
		t.Errorf("%v: %s", err, printed)
	}
}

func TestHookSaysThatThereIsNothingToBuildActionsWith(t *testing.T) {
	r := newHookRunner(t, "127.0.0.1:1")
	dockerfile := r.writeAction(t, "octo/hello/v1", map[string]string{"Dockerfile": "FROM scratch\n"})
	bin := t.TempDir()
	for _, program := range []string{"stepexec", "bash", "sh", "runc", "newuidmap", "newgidmap"} {
		if path, err := exec.LookPath(program); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", bin)
	if got := r.call(t, "run_container_step", map[string]any{"dockerfile": dockerfile}); got.code != 125 || !strings.Contains(got.out, "there is no buildah to build it (apt-get install buildah;") {
		t.Errorf("%d, %s", got.code, got.out)
	}
}

// A build ends with all that RUN has started, whatever RUN does with signals and whoever is killed.
func TestHookEndsABuildThatIsCancelled(t *testing.T) {
	r := newBuildRunner(t)
	const sleep = "sleep 98431"
	dockerfile := r.writeAction(t, "octo/slow/v1", map[string]string{"Dockerfile": "FROM " + r.image + "\nRUN echo run''ning; trap '' INT TERM; (setsid " + sleep + " &); " + sleep + "\n"})
	hook := func(signal syscall.Signal) func(*os.Process) error {
		return func(hook *os.Process) error { return hook.Signal(signal) }
	}
	for _, test := range []struct {
		name string
		end  func(hook *os.Process) error
	}{
		{"cancel", hook(syscall.SIGINT)},
		{"hook killed", hook(syscall.SIGKILL)},
		{"keeper killed", func(*os.Process) error { return r.signalKeepers(t, syscall.SIGKILL) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			printed, err := r.build(t, dockerfile, func(line string, hook *os.Process) error {
				if line != "running" {
					return nil
				}
				return test.end(hook)
			})
			if err == nil {
				t.Errorf("it succeeded: %s", printed)
			}
			if test.name == "keeper killed" {
				r.prepare(t, nil)
				if left := r.leftOfBuilds(t, sleep); left != "" {
					t.Errorf("left behind: after the next prepare_job: %s", left)
				}
				return
			}
			left := r.leftOfBuilds(t, sleep)
			for end := time.Now().Add(time.Minute); left != "" && time.Now().Before(end); left = r.leftOfBuilds(t, sleep) {
				time.Sleep(20 * time.Millisecond) // the keeper clears away after a hook that was killed
			}
			if left != "" {
				t.Errorf("left behind: after a minute there is still %s: %s", left, printed)
			}
		})
	}
}

// leftOfBuilds names one thing that a build has left, or "". RUN runs a program by its own command line.
func (r *hookRunner) leftOfBuilds(t *testing.T, program string) string {
	t.Helper()
	if out, err := exec.Command("pgrep", "-fx", program).Output(); err == nil {
		return "process " + string(out)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), r.root+"/buildah") {
		return "a mount"
	}
	for _, pattern := range []string{r.root + "/buildah/runtime/*", r.root + "/buildah/tmp", "/run/runc/buildah-*", "/sys/fs/cgroup/*/buildah-buildah*", "/sys/fs/cgroup/buildah-buildah*"} {
		found, err := filepath.Glob(pattern)
		if found = slices.DeleteFunc(found, isAnothers); err != nil || len(found) > 0 {
			return fmt.Sprintf("%q, %v", found, err)
		}
	}
	return ""
}

// isAnothers reports whether a file is another user's: the tests run as root and without at the same
// time.
func isAnothers(name string) bool {
	info, err := os.Stat(name)
	if err != nil {
		return false
	}
	st, known := info.Sys().(*syscall.Stat_t)
	return known && int(st.Uid) != os.Getuid()
}
