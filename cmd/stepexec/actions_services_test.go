package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

// serviceOf is a service that runs shell code.
func (r *hookRunner) serviceOf(code, options string) map[string]any {
	return map[string]any{
		"image": r.image, "entryPoint": "sh", "entryPointArgs": []string{"-c", `"` + code + `"`}, "createOptions": options,
		"userMountVolumes": []any{map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work"), "targetVolumePath": "/noted"}},
	}
}

// withServices are the args of a job with services.
func (r *hookRunner) withServices(t *testing.T, services ...any) map[string]any {
	t.Helper()
	args := r.example(t, "prepare_job")
	delete(args["container"].(map[string]any), "portMappings")
	args["services"] = services
	return args
}

// recorded is the record of the runner's last run.
func (r *hookRunner) recorded(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob(r.root + "/history/*/record.json")
	if err != nil || len(all) == 0 {
		t.Fatalf("no record: %v", err)
	}
	data, err := os.ReadFile(all[len(all)-1])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// untilRecorded waits, for a minute at most, until the log of the job's run has the text.
func (r *hookRunner) untilRecorded(t *testing.T, text string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		logs, _ := filepath.Glob(r.root + "/history/*/log.ndjson") // never an error of this pattern
		for _, log := range logs {
			if data, err := os.ReadFile(log); err == nil && strings.Contains(string(data), text) {
				return
			}
		}
	}
	t.Errorf("after a minute the record of no run has %s", text)
}

func TestHookRefusesAJobWhoseServiceHasDied(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	for _, test := range []struct{ name, code, options, want string }{
		{"failed", "echo no password is set; exit 3", "", "has ended with exit code 3; its last lines:%0A  no password is set"},
		{"did nothing", "true", "", "has ended with exit code 0; it printed nothing"},
		{"before its health check passed", "echo bad; exit 4", "--health-cmd false", "with exit code 4 before it was ready"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := r.call(t, "prepare_job", r.withServices(t, r.serviceOf(test.code, test.options)))
			if got.code == 0 || !strings.Contains(got.out, test.want) || !strings.Contains(got.out, "::error::stepexec: ") {
				t.Errorf("code %d, want %q: %s", got.code, test.want, got.out)
			}
		})
	}
}

// On the host's network both want the same port, as in the reference hook's own tests; with a
// network of their own both run.
func TestHookRunsTwoServicesOnOnePort(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	web := func() any {
		return r.serviceOf("exec nc -ll -p 18080 -e echo hello", "")
	}
	r.flags = ""
	if got := r.call(t, "prepare_job", r.withServices(t, web(), web())); got.code != 0 {
		t.Errorf("on a network of the job: %d, %s", got.code, got.out)
	}
	if got := r.script(t, "for s in service-1 service-2; do until nc $s 18080 2>/dev/null; do sleep 0.02; done; done"); got.out != "hello\nhello\n" {
		t.Errorf("both answer: %d, %q", got.code, got.out)
	}
	// As with docker, localhost is the container's own; on the host it leads to published ports.
	port := freePort(t)
	published := web().(map[string]any)
	published["portMappings"] = []string{port + ":18080"}
	if got := r.call(t, "prepare_job", r.withServices(t, web(), published)); got.code != 0 {
		t.Errorf("with a published port: %d, %s", got.code, got.out)
	}
	if got := r.script(t, "until nc service-2 18080 </dev/null >/dev/null 2>&1; do sleep 0.02; done; for p in 18080 "+port+"; do nc localhost $p </dev/null 2>/dev/null || echo closed; done"); got.out != "closed\nclosed\n" {
		t.Errorf("localhost of the container: %d, %q", got.code, got.out)
	}
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err := errors.Join(err, connection.Close()); err != nil || string(answer) != "hello\n" {
		t.Errorf("the published port answers %q, %v", answer, err)
	}
	r.flags = "--network host"
	clash := func() any { return r.serviceOf("httpd -f -p 127.0.0.1:18081", "") }
	if got := r.call(t, "prepare_job", r.withServices(t, clash(), clash())); got.code == 0 || !strings.Contains(got.out, "Address already in use") {
		t.Errorf("on the host's network: %d, %s", got.code, got.out)
	}
}

func TestHookTellsOfAServiceThatDiesLater(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	dies := r.serviceOf("echo ::error::up; until [ -e /noted/die ]; do sleep 0.02; done; echo out of disk; exit 5", "")
	if got := r.call(t, "prepare_job", r.withServices(t, dies)); got.code != 0 {
		t.Fatalf("%d, %s", got.code, got.out)
	}
	if got := r.script(t, "echo fine"); got.out != "fine\n" {
		t.Errorf("before: %q", got.out)
	}
	var watching sync.WaitGroup
	watching.Go(func() { // the script goes on until the record has it that the service is dead
		r.untilRecorded(t, `"exit_code":5`)
		if err := os.WriteFile(filepath.Join(r.dir, "work/over"), nil, 0o644); err != nil {
			t.Error(err)
		}
	})
	got := r.script(t, ": > /__w/die; until [ -e /__w/over ]; do sleep 0.02; done; echo after")
	watching.Wait()
	if want := "has ended with exit code 5; its last lines:%0A  ::error::up%0A  out of disk\n"; got.code != 0 || !strings.Contains(got.out, "::warning::service service-1 (") || !strings.Contains(got.out, want) {
		t.Errorf("the step in which it died: %d, %q", got.code, got.out)
	}
	if got := r.script(t, "echo fine"); got.out != "fine\n" {
		t.Errorf("it is told once: %q", got.out)
	}
	end := r.call(t, "cleanup_job", nil)
	lines := strings.Split(end.out, "\n")
	if len(lines) < 6 || !strings.HasPrefix(lines[0], "::group::service service-1 (") || !strings.HasSuffix(lines[0], "has ended with exit code 5") ||
		!strings.HasPrefix(lines[1], "::stop-commands::") || lines[2] != "::error::up" || lines[3] != "out of disk" ||
		lines[4] != "::"+strings.TrimPrefix(lines[1], "::stop-commands::")+"::" || lines[5] != "::endgroup::" {
		t.Errorf("clean-up: %d, %q", end.code, end.out)
	}
	if record := r.recorded(t); !strings.Contains(strings.Join(strings.Fields(record), ""), `"status":"failed","exit_code":5`) {
		t.Errorf("the record: %s", record)
	}
}

func TestHookTellsOfAnUnhealthyServiceOnceItsRetriesAreUsedUp(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	sick := r.serviceOf("echo trying; exec sleep 1000", "--health-cmd 'echo no such table; false' --health-interval 100ms --health-retries 2")
	got := r.call(t, "prepare_job", r.withServices(t, sick))
	for _, want := range []string{"unhealthy: its health check failed for 2 tries, one in 100ms", "no such table", "trying"} {
		if got.code == 0 || !strings.Contains(got.out, want) {
			t.Errorf("code %d, want %q: %s", got.code, want, got.out)
		}
	}
}

// As with docker, an image's healthcheck holds also for a command of one's own.
func TestHookHeedsTheImagesHealthcheckWithAnyEntrypoint(t *testing.T) {
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	image.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD-SHELL", "test -e /noted/healthy"}}
	built, err := image.Build()
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.Start(t, registry.Options{})
	reg.Push(t, "checked:1", built)
	r := newHookRunner(t, reg.Host)
	r.image = reg.Host + "/checked:1"
	if got := r.call(t, "prepare_job", r.withServices(t, r.serviceOf("exec sleep 1000", "--health-interval 100ms --health-retries 2"))); got.code == 0 || !strings.Contains(got.out, "unhealthy") {
		t.Errorf("it is never healthy: %d, %s", got.code, got.out)
	}
	if got := r.call(t, "prepare_job", r.withServices(t, r.serviceOf("sleep 0.5; : > /noted/healthy; exec sleep 1000", ""))); got.code != 0 {
		t.Errorf("it is healthy after half a second: %d, %s", got.code, got.out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "work/healthy")); err != nil {
		t.Errorf("the job began before its service was healthy: %v", err)
	}
}

// Each name of a service leads to it from the job's container, from a container step and from
// other services.
func TestHookKnowsServicesByAllTheirNames(t *testing.T) {
	host := hookImages(t)
	r := newHookRunner(t, host)
	web := func(image, contextName, says, options string) any {
		s := r.serviceOf("echo "+says+" > /tmp/says; exec httpd -f -p 8080 -h /tmp", options)
		s["image"] = host + image
		if contextName != "" {
			s["contextName"] = contextName
		}
		return s
	}
	for _, network := range []string{"", "--network host"} {
		r.flags = network
		services := []any{
			web("/busybox", "", "first", "--name by-name --network-alias by_alias --hostname by-hostname"),
			web("/alpine", "my_service", "second", ""),
			web("/alpine", "", "third", ""), web("/alpine", "", "fourth", ""),
		}
		if network != "" { // there they would share a port
			services = services[:1]
		}
		if got := r.call(t, "prepare_job", r.withServices(t, services...)); got.code != 0 {
			t.Fatalf("%d, %s", got.code, got.out)
		}
		look := "for n in service-1 by-name by_alias by-hostname busybox; do wget -qO- http://$n:8080/says; done"
		want := strings.Repeat("first\n", 5)
		if network == "" {
			look += "; wget -qO- http://my_service:8080/says; wget -qO- http://service-4:8080/says; ! wget -qO- http://alpine:8080/says 2> /dev/null"
			want += "second\nfourth\n"
		}
		if got := r.script(t, look); got.code != 0 || got.out != want {
			t.Errorf("%q: a script: %d, %q; want %q", network, got.code, got.out, want)
		}
		step := r.example(t, "run_container_step")
		step["entryPoint"], step["entryPointArgs"] = "sh", []string{"-c", `"` + look + `"`}
		if got := r.call(t, "run_container_step", step); got.code != 0 || got.out != want {
			t.Errorf("%q: a container step: %d, %q; want %q", network, got.code, got.out, want)
		}
	}
}
