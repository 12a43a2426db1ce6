package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

// The real runner cannot be had here, as it is no package: these tests do what it does, a child
// process for each call, with requests of its form (testdata/actions).

// hookRunner is a self-hosted runner.
type hookRunner struct {
	name, dir, root string
	image           string // of the registry: busybox
	flags           string
	sharesRoot      bool // with another, who looks what is left
	state           json.RawMessage
}

// hookImages has busybox and busybox that says it is Alpine in a registry.
func hookImages(t testing.TB) string {
	t.Helper()
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	if files := libraries(t); len(files) > 0 { // so that this program can be the fork server of a job
		image.Layers = append(image.Layers, fixtures.Tar(files...))
	}
	plain, err := image.Build()
	if err != nil {
		t.Fatal(err)
	}
	image.Layers = append(image.Layers, fixtures.Tar(fixtures.File("etc/os-release", 0o644, "NAME=\"Alpine Linux\"\nID=alpine\n")))
	alpine, err := image.Build()
	if err != nil {
		t.Fatal(err)
	}
	r := registry.Start(t, registry.Options{})
	r.Push(t, "busybox:latest", plain)
	r.Push(t, "alpine:latest", alpine)
	return r.Host
}

func newHookRunner(t testing.TB, host string) *hookRunner {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"work/repo/repo", "work/_temp/_runner_hook_responses", "externals"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &hookRunner{name: "runner of " + t.Name(), dir: dir, root: filepath.Join(dir, "root"), image: host + "/busybox", flags: "--network host"}
	t.Cleanup(func() {
		r.call(t, "cleanup_job", nil)
		if r.sharesRoot {
			return
		}
		k := killing{root: r.root}
		left := k.left(t)
		for began := time.Now(); left != "" && time.Since(began) < 20*time.Second; left = k.left(t) {
			time.Sleep(20 * time.Millisecond) // a guard clears away after a keeper that was killed
		}
		if left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
	return r
}

// hookResult is how a call ended.
type hookResult struct {
	code      int
	out       string // stdout and stderr
	response  []byte
	isAlpine  *bool
	container *hookContainer
	services  []hookContainer
}

type hookContainer struct {
	Image, ID, Network string
	Ports              map[string]string
}

func (r *hookRunner) command(t testing.TB, request map[string]any) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../contrib/stepexec-hook.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-e", script) // also in a clean-up, when the context is over
	cmd.Stdin = bytes.NewReader(append(data, '\n'))
	cmd.Dir = filepath.Join(r.dir, "work")
	cmd.Env = append(os.Environ(), "RUNNER_NAME="+r.name, "RUNNER_TEMP="+filepath.Join(r.dir, "work/_temp"), "GITHUB_WORKSPACE="+filepath.Join(r.dir, "work/repo/repo"),
		"STEPEXEC_SETTINGS=/dev/null", "STEPEXEC_HOOK_FLAGS="+r.flags+byCalls()+" --root "+r.root)
	return cmd
}

// byCalls is the flag by which the runtime starts everything, if the tests are to be run in that way.
func byCalls() string {
	if os.Getenv("STEPEXEC_TEST_RUNTIME_CALLS") == "" {
		return ""
	}
	return " --runtime-calls"
}

// callLimit is far more than a call takes on a busy machine.
const callLimit = 5 * time.Minute

// call calls the hook as the runner does, and keeps its state.
func (r *hookRunner) call(t testing.TB, command string, args map[string]any) hookResult {
	t.Helper()
	file, err := os.CreateTemp(filepath.Join(r.dir, "work/_temp/_runner_hook_responses"), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if args == nil {
		args = map[string]any{}
	}
	var state any = map[string]any{}
	if r.state != nil {
		state = r.state
	}
	cmd := r.command(t, map[string]any{"command": command, "responseFile": file.Name(), "args": args, "state": state})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hangs := time.AfterFunc(callLimit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) }) // it prints where it hangs
	out, err := cmd.CombinedOutput()
	if !hangs.Stop() {
		t.Fatalf("%s has not ended in %v: %s", command, callLimit, out)
	}
	result := hookResult{code: cmd.ProcessState.ExitCode(), out: string(out)}
	if err != nil && result.code < 0 {
		t.Fatal(err)
	}
	if result.response, err = os.ReadFile(file.Name()); err != nil {
		t.Fatal(err)
	}
	r.read(t, &result)
	return result
}

func (r *hookRunner) read(t testing.TB, result *hookResult) {
	t.Helper()
	if len(result.response) == 0 {
		return
	}
	var response struct {
		State    json.RawMessage
		IsAlpine *bool
		Context  struct {
			Container *hookContainer
			Services  []hookContainer
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(result.response))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&response); err != nil {
		t.Fatalf("%v: %s", err, result.response)
	}
	r.state, result.isAlpine, result.container, result.services = response.State, response.IsAlpine, response.Context.Container, response.Context.Services
}

// example is a request's args of the runner's documentation, with paths and images of here.
func (r *hookRunner) example(t testing.TB, command string) map[string]any {
	t.Helper()
	data, err := os.ReadFile("testdata/actions/" + command + ".json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("RUNNER", r.dir, "IMAGE", r.image, "FREE1", freePort(t), "FREE2", freePort(t), "FREE3", freePort(t)).Replace(string(data))
	var request struct{ Args map[string]any }
	if err := json.Unmarshal([]byte(text), &request); err != nil {
		t.Fatal(err)
	}
	return request.Args
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// prepare prepares a job with a container of the example's form.
func (r *hookRunner) prepare(t testing.TB, change func(args, container map[string]any)) hookResult {
	t.Helper()
	args := r.example(t, "prepare_job")
	delete(args, "services")
	container := args["container"].(map[string]any)
	delete(container, "portMappings")
	if change != nil {
		change(args, container)
	}
	result := r.call(t, "prepare_job", args)
	if result.code != 0 {
		t.Fatalf("prepare_job ended with %d: %s", result.code, result.out)
	}
	return result
}

// script runs shell code in the job's container.
func (r *hookRunner) script(t testing.TB, code string) hookResult {
	t.Helper()
	return r.call(t, "run_script_step", r.scriptArgs(t, code))
}

func (r *hookRunner) scriptArgs(t testing.TB, code string) map[string]any {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "work/script.sh"), []byte(code), 0o755); err != nil {
		t.Fatal(err)
	}
	args := r.example(t, "run_script_step")
	args["entryPointArgs"] = []string{"-e", "/__w/script.sh"}
	return args
}

// BenchmarkHook is a job: what the runner waits for at each of its calls. bench/hooks.sh
// runs it.
func BenchmarkHook(b *testing.B) {
	r := newHookRunner(b, hookImages(b))
	r.flags = os.Getenv("STEPEXEC_HOOK_FLAGS")
	took := map[string][]float64{}
	call := func(unit, command string, args map[string]any) {
		began := time.Now()
		if got := r.call(b, command, args); got.code != 0 {
			b.Fatalf("%s ended with %d: %s", command, got.code, got.out)
		}
		took[unit] = append(took[unit], float64(time.Since(began).Microseconds())/1000)
	}
	args := r.example(b, "prepare_job")
	delete(args, "services")
	delete(args["container"].(map[string]any), "portMappings")
	container := r.example(b, "run_container_step")
	container["entryPointArgs"] = []string{"-c", "true"}
	script := r.scriptArgs(b, "true")
	for b.Loop() {
		call("prepare_job", "prepare_job", args)
		call("first_script_step", "run_script_step", script) // at once, although a runner needs a moment
		for range 4 {
			call("run_script_step", "run_script_step", script)
		}
		call("run_container_step", "run_container_step", container)
		call("cleanup_job", "cleanup_job", nil)
	}
	for command, all := range took {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], command+"-ms")
	}
}

func TestHookPreparesTheExampleJob(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.flags = "" // a network of its own
	args := r.example(t, "prepare_job")
	result := r.call(t, "prepare_job", args)
	if result.code != 0 || result.container == nil || len(result.services) != 1 || result.isAlpine == nil || *result.isAlpine {
		t.Fatalf("%d, %s: %s", result.code, result.response, result.out)
	}
	hexadecimal := regexp.MustCompile(`^[0-9a-f]{64}$`)
	for i, c := range append(result.services, *result.container) {
		if !hexadecimal.MatchString(c.ID) || c.Network == "" {
			t.Errorf("container %d is %+v", i, c)
		}
	}
	if diff := cmp.Diff(portsOf(args["container"]), result.container.Ports); diff != "" {
		t.Error(diff)
	}
	service := args["services"].([]any)[0]
	if diff := cmp.Diff(portsOf(service), result.services[0].Ports); diff != "" {
		t.Error(diff)
	}
	// The service is reached by its name and port from the job's container, and by the published port from here.
	if got := r.script(t, "wget -qO- http://redis:8080/"); !strings.Contains(got.out, "it is the service") {
		t.Errorf("in the job: %d, %s", got.code, got.out)
	}
	out, err := exec.Command("busybox", "wget", "-qO-", "http://127.0.0.1:"+result.services[0].Ports["8080"]+"/").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "it is the service") {
		t.Errorf("on the host: %v, %s", err, out)
	}
	for range 2 {
		if got := r.call(t, "cleanup_job", nil); got.code != 0 || len(got.response) > 0 {
			t.Errorf("clean-up: %d, %s", got.code, got.out)
		}
	}
	if got := r.script(t, "true"); got.code == 0 || !strings.Contains(got.out, "::error::stepexec: the job's containers are gone") {
		t.Errorf("a script after the clean-up: %d, %s", got.code, got.out)
	}
}

// portsOf is what the runner is to hear of port mappings HOST:CONTAINER.
func portsOf(container any) map[string]string {
	ports := map[string]string{}
	for _, mapping := range container.(map[string]any)["portMappings"].([]any) {
		host, inside, _ := strings.Cut(mapping.(string), ":")
		ports[inside] = host
	}
	return ports
}

func TestHookWithoutContainersWritesNothing(t *testing.T) {
	r := newHookRunner(t, "127.0.0.1:1")
	result := r.call(t, "prepare_job", map[string]any{"container": nil, "services": []any{}})
	if result.code != 0 || len(result.response) != 0 {
		t.Errorf("%d, response %q: %s", result.code, result.response, result.out)
	}
}

func TestHookRefusesWhatItCannotDo(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	service := func(key string, value any) map[string]any {
		c := map[string]any{"image": r.image, "entryPoint": "sleep", "entryPointArgs": []string{"1000"}}
		if value == nil {
			delete(c, key)
		} else {
			c[key] = value
		}
		return map[string]any{"services": []any{c}}
	}
	tests := []struct {
		name, command string
		args          map[string]any
		code          int
		want          string
	}{
		{"unknown command", "prepare_jobs", nil, 1, `the runner's command "prepare_jobs" is not known`},
		{"image that is missing", "prepare_job", service("image", r.image+":none"), 125, "busybox:none"},
		{"image of this machine", "prepare_job", service("image", "rootfs:/"), 125, "rootfs:/"},
		{"neither image nor Dockerfile", "run_container_step", map[string]any{}, 125, "neither an image nor a Dockerfile"},
		{"Dockerfile that is not there", "run_container_step", map[string]any{"dockerfile": "/x/Dockerfile"}, 125, "/x/Dockerfile"},
		{"option that is unknown", "prepare_job", service("createOptions", "--cpus 1 --blink"), 125, "unknown flag: --blink"},
		{"option with a bad value", "prepare_job", service("createOptions", "--memory lots"), 125, "--memory"},
		{"word that is no option", "prepare_job", service("createOptions", "--cpus 1 more"), 125, `"more" is not an option`},
		{"quote without an end", "prepare_job", service("createOptions", "--env 'A=1"), 125, "options"},
		{"port that is none", "prepare_job", service("portMappings", []string{"80:x"}), 125, `ports: "80:x" is not a port`},
		{"port that is moved on the host's network", "prepare_job", service("portMappings", []string{"81:80"}), 125, "--network private"},
		{"volume without a path", "prepare_job", service("userMountVolumes", []any{map[string]any{"sourceVolumePath": "/a", "targetVolumePath": "b"}}), 125, "absolute path"},
		{"service that ends", "prepare_job", service("entryPoint", "false"), 125, "has ended with exit code 1"},
		{"script without a job", "run_script_step", map[string]any{"entryPoint": "sh"}, 125, "the job has no container"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r.state = nil
			result := r.call(t, test.command, test.args)
			if result.code != test.code || test.want != "" && !strings.Contains(result.out, "::error::stepexec: ") || !strings.Contains(result.out, test.want) {
				t.Errorf("code %d, want %d and %q: %s", result.code, test.code, test.want, result.out)
			}
		})
	}
	t.Run("no args", func(t *testing.T) {
		for _, command := range []string{"prepare_job", "run_script_step", "run_container_step"} {
			out, err := r.command(t, map[string]any{"command": command, "args": nil}).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "::error::stepexec: read the runner's request: a "+command+" has args, and this one has none") {
				t.Errorf("%s: %v: %s", command, err, out)
			}
		}
	})
	t.Run("no workspace", func(t *testing.T) {
		cmd := r.command(t, map[string]any{"command": "cleanup_job"})
		cmd.Env = append(cmd.Env, "GITHUB_WORKSPACE=")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "GITHUB_WORKSPACE is not set") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("no JSON", func(t *testing.T) {
		cmd := r.command(t, nil)
		cmd.Stdin = strings.NewReader("hunter2")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not the JSON document") || strings.Contains(string(out), "hunter2") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestHookRunsScripts(t *testing.T) {
	host := hookImages(t)
	r := newHookRunner(t, host)
	result := r.prepare(t, func(_, container map[string]any) {
		container["image"] = host + "/alpine"
		container["createOptions"] = "--cpus 1 --env OPTION='of options' --hostname builder"
		container["environmentVariables"] = map[string]any{"NODE_ENV": "it's\n$HOME \"x\"", "EMPTY": nil}
	})
	if result.isAlpine == nil || !*result.isAlpine {
		t.Errorf("the image is Alpine's: %s", result.response)
	}
	tests := []struct {
		name, script string
		change       func(args map[string]any)
		code         int
		want         string
	}{
		{"output", "echo Hello World", nil, 0, "Hello World\n"},
		{"files stay", ": > /tmp/made; : > /__w/shared; echo made", nil, 0, "made\n"},
		{"and are there", "ls /tmp/made /__w/shared", nil, 0, "/__w/shared\n/tmp/made\n"},
		{"own exit code", "exit 7", nil, 7, "The step's own command failed, with exit code 7. Nothing is wrong with the runner.\n"},
		{"environment of the job", `echo "$CI $GITHUB_ACTIONS $OPTION [$EMPTY]"; echo "$NODE_ENV"`, func(args map[string]any) { delete(args, "environmentVariables") }, 0,
			"true true of options []\nit's\n$HOME \"x\"\n"},
		{"environment of the step", `echo "$NODE_ENV"`, func(args map[string]any) {
			args["environmentVariables"] = map[string]any{"NODE_ENV": "a\nb 'c' \"d\" $e"}
		}, 0, "a\nb 'c' \"d\" $e\n"},
		{"path in front, a list", `echo "$PATH"`, nil, 0, "/foo/bar:bar/foo:/bin\n"},
		{"path in front, a text", `echo "$PATH"`, func(args map[string]any) { args["prependPath"] = "/foo" }, 0, "/foo:/bin\n"},
		{"directory", "pwd", nil, 0, "/__w/repo/repo\n"},
		{"arguments that were split", "", func(args map[string]any) {
			args["entryPoint"], args["entryPointArgs"] = "echo", []string{`"Mona`, "the", "", `Octocat"`, "it's"}
		}, 0, "\"Mona the Octocat\" it's\n"},
		{"arguments that were split at quoted spaces", "", func(args map[string]any) {
			args["entryPoint"], args["entryPointArgs"] = "echo", []string{`"Mona`, "the", `Octocat"`, `\"`}
		}, 0, "Mona the Octocat \"\n"},
		{"externals are read-only", "touch /__e/x 2>/dev/null || echo refused", nil, 0, "refused\n"},
		{"no program", "", func(args map[string]any) { args["entryPoint"] = nil }, 125, "::error::stepexec: the runner names no program to run"},
		{"no such program", "", func(args map[string]any) { args["entryPoint"] = "fish" }, 127, "::error::stepexec: "},
		{"what it left in the background holds nothing up", "sleep 1000 & echo on", nil, 0, "on\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := r.scriptArgs(t, test.script)
			if test.change != nil {
				test.change(args)
			}
			got := r.call(t, "run_script_step", args)
			if test.name == "path in front, a list" || test.name == "path in front, a text" {
				got.out = regexp.MustCompile(`:/usr\S*`).ReplaceAllString(got.out, ":/bin")
			}
			if got.code != test.code || !strings.Contains(got.out, test.want) {
				t.Errorf("code %d, %q; want %d and %q", got.code, got.out, test.code, test.want)
			}
		})
	}
}

// Scripts are started by the fork server until one of them has ended it, and with --runtime-calls by
// the runtime. Their exit codes are their own in each case.
func TestHookStartsScriptsWithAndWithoutAForkServer(t *testing.T) {
	host := hookImages(t)
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{"", " --runtime-calls"} {
		t.Run("flags"+flags, func(t *testing.T) {
			r := newHookRunner(t, host)
			calls, runtime := filepath.Join(r.dir, "calls"), filepath.Join(r.dir, "runtime")
			if err := os.WriteFile(runtime, []byte("#!/bin/sh\necho \"$*\" >> "+calls+"\nexec "+runc+" \"$@\"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			r.flags += flags + " --runtime " + runtime
			r.prepare(t, nil)
			forks := flags+byCalls() == ""
			for _, test := range []struct {
				code string
				exit int
				all  int // programs that the runtime has executed then, where there are fork servers
			}{
				{"exit 0", 0, 1}, // the fork server
				{"exit 7", 7, 1},
				{"kill -9 -1 2>/dev/null || true; exit 3", 3, 1},
				{"exit 0", 0, 2}, // the second one
				{"kill -9 -1 2>/dev/null || true; exit 4", 4, 2},
				{"exit 0", 0, 3}, // the script itself
				{"exit 9", 9, 4},
			} {
				before := execCalls(t, calls)
				got := r.script(t, test.code)
				if got.code != test.exit {
					t.Errorf("%s: code %d, %q; want %d", test.code, got.code, got.out, test.exit)
				}
				want := before + 1
				if forks {
					want = test.all
				}
				if after := execCalls(t, calls); after != want {
					t.Errorf("%s: the runtime has executed %d programs, and %d before; want %d", test.code, after, before, want)
				}
			}
		})
	}
}

// execCalls counts the calls of a runtime that have executed a program.
func execCalls(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), " exec --detach ")
}

// Ten megabytes, each line once and in order.
func TestHookPassesOnAllOutput(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	got := r.script(t, "seq 1 1400000")
	var want strings.Builder
	for i := range 1400000 {
		fmt.Fprintln(&want, i+1)
	}
	if got.code != 0 || got.out != want.String() {
		t.Errorf("code %d, %d bytes; want %d", got.code, len(got.out), want.Len())
	}
}

func TestHookRunsContainers(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	removedAtTheEnd(t, filepath.Join(r.root, "caches"))
	args := func(code string, change func(map[string]any)) map[string]any {
		args := r.example(t, "run_container_step")
		args["entryPoint"], args["entryPointArgs"] = "sh", []string{"-c", `"` + code + `"`}
		if change != nil {
			change(args)
		}
		return args
	}
	options := func(text string) func(map[string]any) {
		return func(args map[string]any) { args["createOptions"] = text }
	}
	for _, job := range []string{"of a job without containers", "of a job"} {
		t.Run(job, func(t *testing.T) {
			if job == "of a job" {
				r.prepare(t, nil)
			}
			for _, test := range []struct {
				code   string
				change func(map[string]any)
				exit   int
				want   string
			}{
				{"echo Hello World", nil, 0, "Hello World\n"},
				{"exit 9", nil, 9, "with exit code 9"},
				{"echo $NODE_ENV $CI; pwd", nil, 0, "development true\n/__w/repo/repo\n"},
				{": > /volume_mount/made", nil, 0, ""},
				{"ls /volume_mount", nil, 0, "made\n"},
				{"stat -c %u:%a /home/builder /home/builder/.profile", options("--volume homes:/home/builder"), 0, "1000:755\n1000:600\n"},
				{"stat -c %u:%a /home/builder /home/builder/.profile", options("--user 1000 --volume homes:/home/builder"), 0, "1000:755\n1000:600\n"},
				{"ls -a /home/builder | wc -l", options("--volume bare:/home/builder:nocopy"), 0, "2\n"},
				{"echo to stderr >&2", nil, 0, "to stderr\n"},
				{"", func(args map[string]any) { args["image"] = r.image + ":none" }, 125, "::error::stepexec: "},
			} {
				got := r.call(t, "run_container_step", args(test.code, test.change))
				if got.code != test.exit || !strings.Contains(got.out, test.want) {
					t.Errorf("%s: code %d, %q; want %d and %q", test.code, got.code, got.out, test.exit, test.want)
				}
			}
		})
	}
}

func TestHookIsCancelledWithAllThatItRuns(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, nil)
	for _, step := range []string{"run_script_step", "run_container_step"} {
		t.Run(step, func(t *testing.T) {
			started := filepath.Join(r.dir, "work", step)
			code := "echo $$ > /__w/" + step + "; trap '' INT; sleep 100000; sleep 100000"
			args := r.scriptArgs(t, code)
			if step == "run_container_step" {
				args = r.example(t, step)
				args["entryPoint"], args["entryPointArgs"] = "sh", []string{"/__w/script.sh"}
			}
			cmd := r.command(t, map[string]any{"command": step, "args": args, "state": r.state})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, started)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("the hook ended with %v", err)
			}
			if got := r.script(t, "ps -o args | grep '[s]leep 100000' || echo none"); got.out != "none\n" {
				t.Errorf("in the container is left: %s", got.out)
			}
		})
	}
}

// waitFor waits for a file.
func waitFor(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if data, err := os.ReadFile(file); err == nil && len(data) > 0 {
			return
		}
	}
	t.Fatalf("after a minute there is no %s", file)
}

func TestHookEndsTheJobThatTheSameRunnerLeftAndNoOther(t *testing.T) {
	host := hookImages(t)
	first, second := newHookRunner(t, host), newHookRunner(t, host)
	second.root, second.sharesRoot = first.root, true
	second.name = first.name // in another folder
	first.prepare(t, nil)
	second.prepare(t, nil)
	old := first.state
	first.prepare(t, nil) // without a clean-up
	if got := first.script(t, "echo here"); got.out != "here\n" {
		t.Errorf("the new job: %d, %s", got.code, got.out)
	}
	if got := second.script(t, "echo here"); got.out != "here\n" {
		t.Errorf("the other runner's job: %d, %s", got.code, got.out)
	}
	first.state = old
	if got := first.script(t, "true"); got.code == 0 {
		t.Errorf("left behind: the job that was left, %s", got.out)
	}
}

func TestHookShowsNoSecretInTheListOfProcesses(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.prepare(t, func(_, container map[string]any) {
		container["environmentVariables"] = map[string]any{"TOKEN": "hunter2-of-the-job"}
	})
	args := r.scriptArgs(t, "test \"$TOKEN\" = hunter2-of-the-step; : > /__w/ready; echo x > /__w/ready; while [ ! -e /__w/go ]; do sleep 0.01; done")
	args["environmentVariables"] = map[string]any{"TOKEN": "hunter2-of-the-step"}
	cmd := r.command(t, map[string]any{"command": "run_script_step", "args": args, "state": r.state})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(r.dir, "work/ready"))
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if data, _ := os.ReadFile(file); bytes.Contains(data, []byte("hunter2")) {
			t.Errorf("%s: %q", file, data)
		}
	}
	if err := os.WriteFile(filepath.Join(r.dir, "work/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
