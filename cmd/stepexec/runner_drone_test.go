package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// droneRunner is the program at work for a server, with registries of which one wants a login.
type droneRunner struct {
	t             testing.TB
	server        *servertest.Server
	root          string
	open, private string // images
	login         string // docker config.json for private
	out           buffer
}

func newDroneRunner(t testing.TB) *droneRunner {
	t.Helper()
	d := &droneRunner{t: t, server: servertest.New(t), root: filepath.Join(t.TempDir(), "root")}
	layout := filepath.Join(t.TempDir(), "busybox")
	if err := fixtures.Busybox(layout); err != nil {
		t.Fatal(err)
	}
	image, err := fixtures.FromLayout(layout, "latest")
	if err != nil {
		t.Fatal(err)
	}
	open := registry.Start(t, registry.Options{})
	locked := registry.Start(t, registry.Options{Users: map[string]string{"ci": "s3cret-password"}})
	open.Push(t, "busybox:1", image)
	locked.Push(t, "busybox:1", image)
	d.open, d.private = open.Host+"/busybox:1", locked.Host+"/busybox:1"
	d.login = fmt.Sprintf(`{"auths":{"%s":{"username":"ci","password":"s3cret-password"}}}`, locked.Host)
	return d
}

func (d *droneRunner) start(args []string, variables ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.Command("stepexec", append([]string{"runner", "drone", "--root", d.root}, args...)...)
	cmd.Env = append(os.Environ(), "DRONE_RPC_HOST="+strings.TrimPrefix(d.server.URL(), "http://"), "DRONE_RPC_SECRET="+servertest.Secret, "DRONE_RUNNER_NAME=test",
		"DRONE_RUNNER_CLONE_IMAGE="+d.open, "STEPEXEC_SETTINGS=/dev/null", "DOCKER_CONFIG="+d.t.TempDir())
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stderr = &d.out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if d.t.Failed() {
			d.t.Log(d.out.String())
		}
	})
	return cmd
}

// push adds a stage with steps, whose image is $IMAGE.
func (d *droneRunner) push(config string, change func(*servertest.Stage)) int64 {
	return d.server.Push(strings.NewReplacer("$IMAGE", d.open, "$PRIVATE", d.private).Replace(config), change)
}

// Two pipelines at once have a service on the same port each, and do not meet.
func TestRunnerDroneKeepsPipelinesApart(t *testing.T) {
	d := newDroneRunner(t)
	traces := startCollector(t)
	cmd := d.start(nil, "DRONE_RUNNER_SECRETS=static:of the runner", "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL, "OTEL_EXPORTER_OTLP_TIMEOUT=60000")
	config := func(name string) string {
		return `
kind: pipeline
clone: {disable: true}
services:
- {name: web, image: $IMAGE, commands: ['mkdir /www; echo ` + name + ` > /www/name; exec httpd -f -p 8765 -h /www']}
steps:
- {name: meet, image: $IMAGE, commands: ['until wget -qO- http://web:8765/name 2>&1; do sleep 0.05; done']}
- {name: wait, image: $IMAGE, commands: ['until test -e go; do sleep 0.05; done', 'wget -qO- http://web:8765/name']}
`
	}
	ids := map[string]int64{"one": d.push(config("one"), nil), "two": d.push(config("two"), nil)}
	for _, id := range ids {
		d.server.Until("both to wait", func() bool { return d.server.Peek(id).Step("wait").Status == "running" })
	}
	volumes, err := filepath.Glob(filepath.Join(d.root, "runs", "*", "volumes", ".workspace"))
	if err != nil || len(volumes) != 2 {
		t.Fatal(volumes, err)
	}
	for _, volume := range volumes {
		if err := os.WriteFile(filepath.Join(volume, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, id := range ids {
		s := d.server.Ended(id)
		if got := s.Step("meet").Text() + s.Step("wait").Text(); s.Status != "success" || strings.Count(got, "\n"+name+"\n") != 2 {
			t.Errorf("%s: %s %q", name, s.Status, got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(d.out.String(), "takes no more work") {
		t.Errorf("drained: %v", err)
	}
	if ids := traces.ids(); len(ids) != 2 {
		t.Errorf("the collector has the traces %v, want one of each pipeline", ids)
	}
}

// collector keeps what is posted to it.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got bytes.Buffer
}

func startCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, err := c.got.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// ids are those of all traces.
func (c *collector) ids() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := map[string]bool{}
	for _, id := range regexp.MustCompile(`"traceId":"[0-9a-f]{32}"`).FindAllString(c.got.String(), -1) {
		ids[id] = true
	}
	return ids
}

func TestRunnerDronePullsWithCredentialsAndUnderAPolicy(t *testing.T) {
	d := newDroneRunner(t)
	policy := filepath.Join(t.TempDir(), "policy.yml")
	if err := os.WriteFile(policy, []byte("networks: [none]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start([]string{"--policy", policy, "--network", "none"}, "DRONE_RUNNER_MAX_PROCS=1")
	const one = "kind: pipeline\nclone: {disable: true}\nimage_pull_secrets: [dockerconfig]\nsteps: [{name: a, image: $PRIVATE, commands: [echo pulled]}]\n"
	for what, c := range map[string]struct {
		config string
		change func(*servertest.Stage)
		want   string // of status and error
	}{
		"a private image": {one, func(s *servertest.Stage) { s.Secrets = map[string]string{"dockerconfig": d.login} }, "success"},
		"a step at once": {"kind: pipeline\nclone: {disable: true}\nsteps:\n- {name: z, image: $IMAGE, commands: ['true']}\n- {name: a, image: $IMAGE, depends_on: [z], commands: &c [mkdir here, sleep 0.2, rmdir here]}\n" +
			"- {name: b, image: $IMAGE, depends_on: [z], commands: *c}\n", nil, "success"},
		"no credentials":  {one, nil, `secret "dockerconfig" is not given`},
		"a host volume":   {"kind: pipeline\nclone: {disable: true}\nvolumes: [{name: etc, host: {path: /etc}}]\nsteps: [{name: a, image: $IMAGE, volumes: [{name: etc, path: /host}], commands: [echo]}]\n", nil, "/etc is not allowed"},
		"another network": {"kind: pipeline\nclone: {disable: true}\nsteps: [{name: a, image: $IMAGE, network_mode: host, commands: [echo]}]\n", nil, "network: host is not allowed"},
		"local images":    {"kind: pipeline\nclone: {disable: true}\nsteps: [{name: a, image: 'rootfs:/', commands: [echo]}]\n", nil, "/"},
	} {
		s := d.server.Ended(d.push(c.config, c.change))
		if got := s.Status + " " + s.Error; !strings.Contains(got, c.want) || strings.Contains(got, "s3cret-password") {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// A runner that was killed leaves nothing: the next one clears away what its guard did not.
func TestRunnerDroneThatIsKilledLeavesNothing(t *testing.T) {
	d := newDroneRunner(t)
	cmd := d.start([]string{"--network", "none"})
	id := d.push("kind: pipeline\nsteps: [{name: a, image: $IMAGE, commands: [echo begun, sleep 1000]}]\n", nil)
	d.server.Until("the step to run", func() bool { return strings.Contains(d.server.Peek(id).Step("a").LiveText(), "begun\n") })
	guard := guardOf(cmd.Process.Pid)
	_ = cmd.Process.Kill()
	killPID(guard)
	_ = cmd.Wait()
	d.server.NoPolls()
	again := d.start([]string{"--network", "none"})
	if s := d.server.Ended(d.push("kind: pipeline\nsteps: [{name: b, image: $IMAGE, commands: [echo again]}]\n", nil)); s.Status != "success" {
		t.Errorf("%s %s", s.Status, s.Error)
	}
	if !strings.Contains(d.out.String(), "cleared away runs of an earlier runner that died: ") {
		t.Error("it does not say what it cleared away")
	}
	_ = again.Process.Signal(syscall.SIGTERM)
	if err := again.Wait(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(d.root, "runs")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %d runs, %v", len(left), err)
	}
}

func TestRunnerDroneSaysWhatIsWrongWithItsEnvironment(t *testing.T) {
	for variable, want := range map[string]string{
		"DRONE_RUNNER_CAPACITY=many":               `$DRONE_RUNNER_CAPACITY: "many" is not a whole number`,
		"DRONE_RUNNER_CAPACITY=0":                  `$DRONE_RUNNER_CAPACITY: "0" is not 1 or more`,
		"DRONE_RPC_HOST=127.0.0.1:99999":           "must be HOST or HOST:PORT (check DRONE_RPC_HOST)",
		"DRONE_RPC_HOST=127.0.0.1:":                "must be HOST or HOST:PORT (check DRONE_RPC_HOST)",
		"DRONE_LIMIT_REPOS=octocat/[":              "not a pattern such as octocat/* (check DRONE_LIMIT_REPOS)",
		"DRONE_LIMIT_EVENTS=push,tags":             `event "tags": Drone has push`,
		"DRONE_PLATFORM_OS=windows":                "this runner has Linux alone",
		"DRONE_PLATFORM_ARCH=x86_64":               "Drone calls it amd64",
		"DRONE_RUNNER_PRIVILEGED_IMAGES=a:b:c d":   "(check DRONE_RUNNER_PRIVILEGED_IMAGES)",
		"DRONE_RUNNER_LABELS=a":                    `$DRONE_RUNNER_LABELS: an entry is not NAME:VALUE`,
		"DRONE_RUNNER_VOLUMES=a":                   `$DRONE_RUNNER_VOLUMES: "a" is not a volume`,
		"DRONE_LIMIT_TRUSTED=maybe":                `$DRONE_LIMIT_TRUSTED: "maybe" is not true or false`,
		"DRONE_RPC_SECRET_FILE=/nowhere/at/all":    `$DRONE_RPC_SECRET_FILE: open /nowhere/at/all`,
		"DRONE_DOCKER_CONFIG=/nowhere/config.json": `$DRONE_DOCKER_CONFIG: open /nowhere/config.json`,
		"DRONE_RPC_HOST=":                          `set DRONE_RPC_HOST`,
		"DRONE_RPC_SECRET=":                        `set DRONE_RPC_SECRET`,
		"DRONE_RPC_PROTO=gopher":                   `$DRONE_RPC_PROTO: "gopher" is not http or https`,
	} {
		cmd := exec.Command("stepexec", "runner", "drone", "--root", t.TempDir(), "--network", "none")
		cmd.Env = append(os.Environ(), "DRONE_RPC_HOST=127.0.0.1:1", "DRONE_RPC_SECRET=x", "STEPEXEC_SETTINGS=/dev/null", variable)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", variable, err, out)
		}
	}
}

// BenchmarkRunnerDrone is a pipeline of three steps, images in the store. Beside the time it
// tells the CPU time of the runner with all that it starts.
func BenchmarkRunnerDrone(b *testing.B) {
	for _, network := range []string{"none", "private"} {
		b.Run(network, func(b *testing.B) {
			d := newDroneRunner(b)
			cmd := d.start([]string{"--network", network})
			const config = "kind: pipeline\nclone: {disable: true}\nsteps:\n- {name: a, image: $IMAGE, commands: ['true']}\n- {name: b, image: $IMAGE, commands: ['true']}\n- {name: c, image: $IMAGE, commands: ['true']}\n"
			d.server.Ended(d.push(config, nil))
			b.ResetTimer()
			var ids []int64
			for range b.N {
				ids = append(ids, d.push(config, nil))
			}
			for _, id := range ids {
				if s := d.server.Ended(id); s.Status != "success" {
					b.Fatal(s.Status, s.Error)
				}
			}
			b.StopTimer()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
			cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N+1), "cpu-ms/pipeline")
		})
	}
}
