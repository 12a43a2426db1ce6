package woodpecker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

// Every case is a workflow with how its steps end, and what they print.
func TestWorkflows(t *testing.T) {
	b := newBench(t)
	mounted := t.TempDir()
	b.start(func(o *woodpecker.Options) { o.MaxWorkflows = 2 })
	onFailure := func(s *workflows.Step) { s.OnSuccess, s.OnFailure = false, true }
	always := func(s *workflows.Step) { s.OnFailure = true }
	ignore := func(s *workflows.Step) { s.Failure = "ignore" }
	options := func(o map[string]any) func(*workflows.Step) {
		return func(s *workflows.Step) { s.BackendOptions = map[string]any{"stepexec": o} }
	}
	long := strings.Repeat("# a comment of fifty characters, over and over ..\n", 4000) + "echo end"
	for name, c := range map[string]struct {
		config *workflows.Config
		want   string // NAME=OUTCOME, in the order of the stages
		prints map[string]string
	}{
		"a failure skips what runs on success": {
			config: workflow(serial(step("a", "exit 3"), step("b", "true"), with(step("c", "echo $CI_PIPELINE_STATUS"), onFailure),
				with(step("d", "echo $CI_PIPELINE_STATUS"), always))...),
			want: "a=failure b=skipped c=success d=success", prints: map[string]string{"c": "failure", "d": "failure"},
		},
		"success skips what runs on failure": {
			config: workflow(serial(step("a", "true"), with(step("b", "true"), onFailure), with(step("c", "echo $CI_PIPELINE_STATUS"), always))...),
			want:   "a=success b=skipped c=success", prints: map[string]string{"c": "success"},
		},
		"a failure that is ignored": {
			config: workflow(serial(with(step("a", "exit 3"), ignore), step("b", "echo $CI_PIPELINE_STATUS"))...),
			want:   "a=failure b=success", prints: map[string]string{"b": "success"},
		},
		"an image that is not there": {
			config: workflow(serial(with(step("a", "true"), func(s *workflows.Step) { s.Image = "oci:nowhere" }), step("b", "true"))...),
			want:   "a=failure b=skipped",
		},
		"the steps of a stage run at once": {
			config: workflow([]*workflows.Step{step("a", "touch a", "while ! test -e b; do sleep 0.05; done"), step("b", "touch b", "while ! test -e a; do sleep 0.05; done")},
				[]*workflows.Step{step("c", "ls")}),
			want: "a=success b=success c=success", prints: map[string]string{"c": "a\nb"},
		},
		"steps that run in no case": {
			config: workflow(serial(with(step("a", "true"), func(s *workflows.Step) { s.OnSuccess = false }), step("b", "true"))...),
			want:   "a=skipped b=success",
		},
		"two steps of one name": {
			config: workflow(serial(step("a", "echo 1"), step("a", "echo 2"))...),
			want:   "a=success a=success",
		},
		"a command that reads its input does not get the script": {
			config: workflow(serial(step("a", "cat", "echo after"))...),
			want:   "a=success", prints: map[string]string{"a": "after"},
		},
		"the documented way to another shell": {
			config: workflow(serial(with(step("a", "cat", "echo $0 | grep -c script", "false | true", "echo after"), func(s *workflows.Step) {
				s.Entrypoint = []string{"/bin/sh", "-c", "echo $CI_SCRIPT | base64 -d | /bin/ash -e"}
			}))...),
			want: "a=success", prints: map[string]string{"a": "1\nafter"},
		},
		"an entrypoint of one's own finds the script": {
			config: workflow(serial(with(step("a", "pwd", "cat file 2>&1 || true"), func(s *workflows.Step) {
				s.Entrypoint = []string{"/bin/sh", "-c", "pwd; echo $CI_SCRIPT | base64 -d >/tmp/script; sh -e /tmp/script"}
			}))...),
			want: "a=success", prints: map[string]string{"a": "/woodpecker\n/woodpecker/src\ncat: can't open 'file': No such file or directory"},
		},
		"a long script": {
			config: workflow(serial(step("a", long, "echo after"))...),
			want:   "a=success",
		},
		"a process in the background does not hold the step": {
			config: workflow(serial(step("a", "sleep 1000 &", "echo done"))...),
			want:   "a=success", prints: map[string]string{"a": "done"},
		},
		"a detached step": {
			config: workflow(serial(with(step("web", "echo begun", "exec sleep 1000"), func(s *workflows.Step) { s.Detached = true }), step("a", "true"))...),
			want:   "web=success a=success", prints: map[string]string{"web": "begun"},
		},
		"a service that fails": {
			config: workflow(serial(with(step("db", "while ! test -e begun; do sleep 0.05; done; touch dead; exit 4"), func(s *workflows.Step) { s.Detached, s.Type = true, workflows.TypeService }),
				step("a", "touch begun; while ! test -e dead; do sleep 0.05; done", "sleep 0.3"))...),
			want: "db=failure a=success",
		},
		"a detached step that fails": {
			config: workflow(serial(with(step("web", "while ! test -e begun; do sleep 0.05; done; touch dead; exit 4"), func(s *workflows.Step) { s.Detached = true }),
				step("a", "touch begun; while ! test -e dead; do sleep 0.05; done", "sleep 0.3"))...),
			want: "web=failure a=success",
		},
		"a detached step that ends with 0": {
			config: workflow(serial(with(step("web", "touch done"), func(s *workflows.Step) { s.Detached = true }),
				step("a", "while ! test -e done; do sleep 0.05; done"))...),
			want: "web=success a=success",
		},
		"a service that ends with 0 before anybody used it": {
			config: workflow([]*workflows.Step{
				with(step("db", "true"), func(s *workflows.Step) { s.Detached, s.Type = true, workflows.TypeService }),
				with(step("other", "sleep 1"), func(s *workflows.Step) { s.Name = "other" }),
			}, []*workflows.Step{step("a", "true")}),
			want: "db=failure other=success a=skipped",
		},
		"out of memory": {
			config: workflow(serial(with(step("a", "tail /dev/zero"), options(map[string]any{"memory": "24MiB"})))...),
			want:   "a=failure",
		},
		"a step's own time": {
			config: workflow(serial(with(step("a", "sleep 1000"), options(map[string]any{"timeout": "300ms"})))...),
			want:   "a=failure",
		},
		"a second try": {
			config: workflow(serial(with(step("a", "test -e tried || { touch tried; exit 9; }", "echo again"),
				options(map[string]any{"retry": map[string]any{"attempts": 2, "backoff": "1ms"}})))...),
			want: "a=success",
		},
		"an option that is none": {
			config: workflow(serial(with(step("a", "true"), options(map[string]any{"commands": "x"})))...),
			want:   "a=failure",
		},
		"a network mode that is not possible": {
			config: workflow(serial(with(step("a", "true"), func(s *workflows.Step) { s.NetworkMode = "container:x" }), step("b", "true"))...),
			want:   "a=failure b=skipped",
		},
		"what a step may have": {
			config: workflow(serial(with(step("a", "id -u", "df -P /scratch | tail -1 | cut -d' ' -f1", "grep -c example.test /etc/hosts", "grep b-side /etc/hosts || echo later steps have no address yet", "cat /etc/resolv.conf", "pwd", "test -c /dev/zero2 && echo device", "echo $HOME"),
				func(s *workflows.Step) {
					s.BackendOptions = map[string]any{"docker": map[string]any{"user": "1000"}}
					s.Tmpfs, s.Devices, s.WorkingDir = []string{"/scratch:size=1m"}, []string{"/dev/zero:/dev/zero2:r"}, "/elsewhere/deep"
					s.ExtraHosts = []workflows.HostAlias{{Name: "example.test", IP: "192.0.2.1"}}
					s.DNS, s.DNSSearch = []string{"192.0.2.53"}, []string{"example.test"}
				}), step("b-side", "true"))...),
			want:   "a=success b-side=success",
			prints: map[string]string{"a": "1000\ntmpfs\n1\nlater steps have no address yet\nnameserver 192.0.2.53\nsearch example.test\n/elsewhere/deep\ndevice\n/home/builder"},
		},
		"volumes": {
			config: workflow(serial(
				with(step("a", "echo own >/own/f", "echo named >/named/f", "cat /host/f", "echo x 2>/dev/null >/host/f || echo read-only"), func(s *workflows.Step) {
					s.Volumes = append(s.Volumes, "/own", "cache-1:/named", mounted+":/host:ro")
				}),
				with(step("b", "ls /own", "cat /named/f"), func(s *workflows.Step) { s.Volumes = append(s.Volumes, "/own", "cache-1:/named") }))...),
			want: "a=success b=success", prints: map[string]string{"a": "from the host\nread-only", "b": "named"},
		},
		"another place of the workspace": {
			config: workflow(serial(
				with(step("a", "pwd", "echo x >f"), func(s *workflows.Step) {
					s.Volumes, s.WorkspaceBase, s.WorkingDir = []string{"wp_1_default:/go"}, "/go", "/go/src"
				}),
				step("b", "pwd", "cat f"))...),
			want: "a=success b=success", prints: map[string]string{"a": "/go/src", "b": "/woodpecker/src\nx"},
		},
		"a plugin": {
			config: workflow(serial(&workflows.Step{
				Name: "a", Type: workflows.TypePlugin, Image: "oci:busybox", OnSuccess: true, WorkingDir: "/woodpecker/src", Volumes: []string{"wp_1_default:/woodpecker"},
				Entrypoint:  []string{"/bin/sh", "-c", "echo $PLUGIN_TARGET $DRONE_REPO $DRONE_BUILD_STATUS $PULLREQUEST_DRONE_PULL_REQUEST $CI_STEP_TYPE; pwd"},
				Environment: map[string]string{"PLUGIN_TARGET": "x,y", "CI_REPO": "octocat/hello"},
			})...),
			want: "a=success", prints: map[string]string{"a": "x,y octocat/hello success 0 plugin\n/woodpecker/src"},
		},
		"a workflow that cannot be read": {
			config: workflow(serial(with(step("a", "true"), func(s *workflows.Step) { s.Volumes = []string{"a b:/c"} }), step("b", "true"))...),
			want:   "a=failure b=skipped",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(mounted, "f"), []byte("from the host\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			w := b.server.Ended(b.server.Push(c.config, 0, nil))
			var got []string
			for _, s := range c.config.Steps() {
				got = append(got, s.Name+"="+outcome(w.Steps[s.UUID]))
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s\nnot %s", text, c.want)
			}
			for name, want := range c.prints {
				if text := printed(w.Step(name)); text != want {
					t.Errorf("%s prints\n%s\nnot\n%s", name, text, want)
				}
			}
			if t.Failed() {
				for _, s := range w.Steps {
					t.Log(s.Name, s.End, strings.Join(s.Lines, "\n"))
				}
				t.Log(w.Done)
			}
		})
	}
}

func TestEndsAreToldAsTheyAre(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	w := b.server.Ended(b.server.Push(workflow([]*workflows.Step{
		step("code", "exit 42"),
		with(step("memory", "tail /dev/zero"), func(s *workflows.Step) {
			s.BackendOptions = map[string]any{"stepexec": map[string]any{"memory": "24MiB"}}
		}),
		with(step("image", "true"), func(s *workflows.Step) { s.Image = "oci:nowhere" }),
		with(step("command", "true"), func(s *workflows.Step) { s.Entrypoint = []string{"/nope"} }),
	}), 0, nil))
	for name, want := range map[string]struct {
		code int32
		text string
	}{
		"code": {42, ""}, "memory": {137, "out of memory"}, "image": {125, "nowhere"}, "command": {127, "/nope"},
	} {
		end := w.Step(name).End
		if end.GetExitCode() != want.code || !strings.Contains(end.GetError(), want.text) || want.text == "" && end.GetError() != "" {
			t.Errorf("%s ended with %d, %q", name, end.GetExitCode(), end.GetError())
		}
		if log := strings.Join(w.Step(name).Lines, "\n"); want.text != "" && !strings.Contains(log, want.text) {
			t.Errorf("the log of %s does not say why: %q", name, log)
		}
	}
}

// Both workflows listen on one port: networks are their own.
func TestWorkflowsAtOnceDoNotMeet(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) { o.MaxWorkflows, o.Defaults.Network = 2, "private" })
	var ids []string
	for i := range 2 {
		answer := fmt.Sprintf("echo I am %d", i)
		ids = append(ids, b.server.Push(workflow(serial(
			with(step("db", "nc -ll -p 5432 -e "+answer), func(s *workflows.Step) {
				s.Detached, s.Type = true, workflows.TypeService
				s.BackendOptions = map[string]any{"stepexec": map[string]any{"ready": map[string]any{"tcp": 5432}}}
			}),
			step("ask", "nc db 5432 </dev/null"))...), 0, nil))
	}
	for i, id := range ids {
		w := b.server.Ended(id)
		if got := printed(w.Step("ask")); got != fmt.Sprintf("I am %d", i) || outcome(w.Step("db")) != "success" {
			t.Errorf("%q, %s: %v %q", got, outcome(w.Step("db")), w.Step("db").End, w.Step("db").Lines)
		}
	}
}
