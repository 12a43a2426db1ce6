package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// ask is something that a step must not get under the policy untrusted, in the words of
// each way in that has words for it.
type ask struct {
	class     pipeline.Class
	native    string         // keys of a native step
	flags     []string       // of `stepexec step`, and of the options of a container of GitHub Actions
	drone     string         // keys of a step of .drone.yml
	droneTop  string         // keys of its pipeline
	woodstep  map[string]any // keys of a step of Woodpecker
	want      string         // what the refusal names
	noOptions bool           // flags has what the options of a container do not have
}

// asks are by their names.
func asks(file string) map[string]ask {
	backend := func(key string, value any) map[string]any {
		return map[string]any{"backend_options": map[string]any{"stepexec": map[string]any{key: value}}}
	}
	return map[string]ask{
		"pids beyond the ceiling":      {class: pipeline.Limit, native: "pids: 4000000", flags: []string{"--pids-limit", "4000000"}, woodstep: backend("pids", 4_000_000), want: "pids: 4000000 is not allowed"},
		"a priority before all others": {class: pipeline.Limit, native: "ulimits: {rtprio: 99}", flags: []string{"--ulimit", "rtprio=99"}, woodstep: backend("ulimits", map[string]any{"rtprio": 99}), want: "ulimits: rtprio=99 is not allowed"},
		"a folder of the host": {
			class: pipeline.HostPath, native: "volumes: ['/etc:/x']", flags: []string{"-v", "/etc:/x"},
			drone: "volumes: [{name: v, path: /x}]", droneTop: "volumes: [{name: v, host: {path: /etc}}]",
			woodstep: map[string]any{"volumes": []string{"/etc:/x"}}, want: "/etc is not allowed",
		},
		"a file of the host as input": {class: pipeline.HostPath, native: "stdin: /etc/shadow", want: "stdin: /etc/shadow is not allowed"},
		"a file of the host for output": {
			class: pipeline.HostPath, native: "output: 'file:" + file + "'", flags: []string{"--log-uri", "file://" + file}, noOptions: true, want: "output: " + file + " is not allowed",
		},
		"a file of the host as variables": {class: pipeline.HostPath, native: "env_file: /etc/os-release", want: "/etc/os-release is not allowed"},
		"a file of the host as a specification": {
			class: pipeline.HostPath, native: "spec: " + file, flags: []string{"--config", file}, noOptions: true, want: " is not allowed",
		},
		"a cache":                       {class: pipeline.HostPath, native: "cache: ['go:/go']", woodstep: backend("cache", []string{"go:/go"}), want: "cache: go is not allowed"},
		"the root of the host":          {class: pipeline.HostResource, native: "image: 'rootfs:/'", want: "image: "},
		"a layout of the host":          {class: pipeline.HostResource, native: "image: 'oci:/'", want: "image: "},
		"an image of docker's daemon":   {class: pipeline.HostResource, native: "image: 'docker-daemon:app'", want: "image: "},
		"an image of podman":            {class: pipeline.HostResource, native: "image: 'containers-storage:app'", want: "image: "},
		"the host's network":            {class: pipeline.HostResource, native: "network: host", flags: []string{"--network", "host"}, drone: "network_mode: host", woodstep: map[string]any{"network_mode": "host"}, want: "network: host is not allowed"},
		"a port of every address":       {class: pipeline.HostResource, native: "network: private\n  ports: ['0.0.0.0:8080:80']", flags: []string{"--network", "private", "-p", "0.0.0.0:8080:80"}, want: "ports: 0.0.0.0:8080:80/tcp is not allowed"},
		"a port of the system":          {class: pipeline.HostResource, native: "network: private\n  ports: ['22:22']", flags: []string{"--network", "private", "-p", "22:22"}, want: "ports: 127.0.0.1:22:22/tcp is not allowed", noOptions: true},
		"a device":                      {class: pipeline.HostResource, native: "devices: [/dev/mem]", flags: []string{"--device", "/dev/mem"}, drone: "volumes: [{name: v, path: /dev/mem}]", droneTop: "volumes: [{name: v, host: {path: /dev/mem}}]", woodstep: map[string]any{"devices": []string{"/dev/mem:/dev/mem"}}, want: "/dev/mem is not allowed"},
		"a device by its name":          {class: pipeline.HostResource, native: "gpus: all", flags: []string{"--gpus", "all"}, want: "devices: nvidia.com/gpu=all is not allowed"},
		"a cgroup":                      {class: pipeline.HostResource, native: "cgroup_parent: /system.slice", flags: []string{"--cgroup-parent", "/system.slice"}, want: "cgroup_parent: /system.slice is not allowed"},
		"a variable of the host":        {class: pipeline.HostResource, native: "environment: [PATH]", want: "environment: PATH is not allowed"},
		"a label that is an order":      {class: pipeline.HostResource, native: "labels: {io.katacontainers.config.hypervisor.path: x}", flags: []string{"--label", "io.katacontainers.config.hypervisor.path=x"}, want: "labels: io.katacontainers.config.hypervisor.path=x is not allowed"},
		"a root that stays":             {class: pipeline.HostResource, native: "keep: true", flags: []string{"--keep"}, want: "keep: true is not allowed"},
		"all rights":                    {class: pipeline.Privilege, native: "privileged: true", flags: []string{"--privileged"}, drone: "privileged: true", woodstep: map[string]any{"privileged": true}, want: "privileged: image"},
		"a capability":                  {class: pipeline.Privilege, native: "cap_add: ALL", flags: []string{"--cap-add", "ALL"}, woodstep: backend("cap_add", "ALL"), want: "cap_add: ALL is not allowed"},
		"no filter of calls":            {class: pipeline.Privilege, native: "seccomp: unconfined", flags: []string{"--seccomp-profile", "unconfined"}, woodstep: backend("seccomp", "unconfined"), want: "seccomp: unconfined is not allowed"},
		"no profile":                    {class: pipeline.Privilege, native: "apparmor: unconfined", flags: []string{"--apparmor", "unconfined"}, woodstep: backend("apparmor", "unconfined"), want: "apparmor: unconfined is not allowed"},
		"new privileges":                {class: pipeline.Privilege, native: "allow_new_privileges: true", flags: []string{"--allow-new-privs"}, woodstep: backend("allow_new_privileges", true), want: "allow_new_privileges: true is not allowed"},
		"the kernel's files":            {class: pipeline.Privilege, native: "unmask: true", flags: []string{"--unmask"}, woodstep: backend("unmask", true), want: "unmask: true is not allowed"},
		"a file of the host for the id": {class: pipeline.HostPath, native: "", flags: []string{"--cidfile", file + ".id"}, noOptions: true, want: "cidfile: " + file + ".id is not allowed"},
		"ids of other users":            {class: pipeline.Privilege, native: "uidmap: 0:0:9\n  gidmap: 0:0:9", flags: []string{"--uidmap", "0:0:9", "--gidmap", "0:0:9"}, want: "uidmap: 0:0:9 is not allowed"},
		"a patch":                       {class: pipeline.Privilege, native: "spec_patch: {hostname: x}", want: "spec_patch: a patch of the OCI spec is not allowed"},
		"a namespace of others":         {class: pipeline.Joins, native: "namespaces: {pid: /proc/1/ns/pid}", flags: []string{"--with-ns", "pid:/proc/1/ns/pid"}, want: "namespaces: pid: /proc/1/ns/pid is not allowed"},
		"the host's processes":          {class: pipeline.Joins, native: "namespaces: {pid: host}", flags: []string{"--with-ns", "pid:host"}, want: "namespaces: pid: host is not allowed"},
	}
}

// waysIn are the ways in, with whether each has words for something.
func waysIn() map[string]func(ask) bool {
	native := func(a ask) bool { return a.native != "" }
	drone := func(a ask) bool { return a.drone != "" }
	options := func(a ask) bool { return a.flags != nil && !a.noOptions }
	return map[string]func(ask) bool{
		"step of a file":      native,
		"service of a file":   native,
		"stepexec step":       func(a ask) bool { return a.flags != nil },
		"file of Drone":       drone,
		"Drone's server":      drone,
		"Woodpecker's server": func(a ask) bool { return a.woodstep != nil },
		"file of Woodpecker": func(a ask) bool {
			return a.woodstep != nil && (a.woodstep["backend_options"] == nil || a.class != pipeline.HostPath)
		},
		"job of GitHub Actions":            options,
		"service of GitHub Actions":        options,
		"container step of GitHub Actions": options,
	}
}

// TestEveryWayInPassesTheGate asks for every class of trust by every way in that has words
// for it. Nothing runs and nothing is pulled: the image is in no registry.
func TestEveryWayInPassesTheGate(t *testing.T) {
	const image = "registry.invalid/image"
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	exec := func(t *testing.T, args ...string) string {
		cmd := exec.Command("stepexec", append(args, "--policy", "untrusted", "--root", filepath.Join(dir, "root"))...)
		if args[0] == "step" { // flags end at the image
			cmd = exec.Command("stepexec", slices.Concat([]string{"step", "--policy", "untrusted", "--root", filepath.Join(dir, "root")}, args[1:])...)
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 125 {
			t.Errorf("exit code %d", code)
		}
		return string(out)
	}
	write := func(t *testing.T, name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	native := func(a ask) string {
		step := "name: s\n  " + a.native
		if !strings.Contains(a.native, "image:") {
			step += "\n  image: " + image
		}
		if !strings.Contains(a.native, "spec:") {
			step += "\n  commands: ['true']"
		}
		if !strings.Contains(a.native, "network:") && !strings.Contains(a.native, "spec:") {
			step += "\n  network: none"
		}
		return step
	}
	drone := newDroneRunner(t)
	drone.start([]string{"--policy", "untrusted"})
	woodpecker := newWoodpeckerRunner(t)
	woodpecker.start("--policy", "untrusted")
	hook := newHookRunner(t, "registry.invalid")
	hook.flags = "--policy untrusted"
	says := waysIn()
	ways := map[string]func(t *testing.T, a ask) string{ // the words in which a way in answers
		"step of a file": func(t *testing.T, a ask) string {
			return exec(t, "run", write(t, "f.yml", "steps:\n- "+native(a)+"\n"))
		},
		"service of a file": func(t *testing.T, a ask) string {
			return exec(t, "run", write(t, "f.yml", "services:\n- "+native(a)+"\nsteps: [{name: a, image: "+image+", network: none, commands: ['true']}]\n"))
		},
		"stepexec step": func(t *testing.T, a ask) string {
			args := slices.Concat([]string{"step"}, a.flags, []string{image, "true"})
			if slices.Contains(a.flags, "--config") { // which has the command
				args = args[:len(args)-1]
			}
			return exec(t, args...)
		},
		"file of Drone": func(t *testing.T, a ask) string {
			return exec(t, "run", write(t, ".drone.yml", droneFile(a, image)))
		},
		"file of Woodpecker": func(t *testing.T, a ask) string {
			step := maps.Clone(a.woodstep)
			step["name"], step["image"], step["commands"] = "s", image, []string{"true"}
			text, err := json.Marshal(map[string]any{"when": []any{map[string]any{"event": "push"}}, "steps": []any{step}})
			if err != nil {
				t.Fatal(err)
			}
			return exec(t, "run", write(t, ".woodpecker.yml", string(text)))
		},
		"Drone's server": func(t *testing.T, a ask) string {
			s := drone.server.Ended(drone.push(droneFile(a, image), nil))
			return s.Status + " " + s.Error
		},
		"Woodpecker's server": func(t *testing.T, a ask) string {
			s := woodpecker.step("s", "true")
			s.Image = image
			data, err := json.Marshal(a.woodstep)
			if err != nil {
				t.Fatal(err)
			}
			if devices, given := a.woodstep["devices"]; given {
				s.Devices = devices.([]string)
			} else if err := json.Unmarshal(data, s); err != nil {
				t.Fatal(err)
			}
			return woodpecker.server.Ended(woodpecker.push(s)).Step("s").End.GetError()
		},
		"job of GitHub Actions": func(t *testing.T, a ask) string {
			return hook.call(t, "prepare_job", map[string]any{"container": map[string]any{"image": image, "createOptions": strings.Join(a.flags, " ")}}).out
		},
		"service of GitHub Actions": func(t *testing.T, a ask) string {
			return hook.call(t, "prepare_job", map[string]any{"services": []any{map[string]any{"image": image, "createOptions": strings.Join(a.flags, " ")}}}).out
		},
		"container step of GitHub Actions": func(t *testing.T, a ask) string {
			hook.call(t, "cleanup_job", nil)
			hook.state = nil
			return hook.call(t, "run_container_step", map[string]any{"image": image, "createOptions": strings.Join(a.flags, " ")}).out
		},
	}
	for _, what := range slices.Sorted(maps.Keys(asks(file))) {
		a := asks(file)[what]
		for _, way := range slices.Sorted(maps.Keys(says)) {
			if !says[way](a) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%s", a.class, what, way), func(t *testing.T) {
				got := ways[way](t, a)
				if !strings.Contains(got, a.want) || !regexp.MustCompile(`\(policy |allowed by the policy`).MatchString(got) {
					t.Errorf("it is not refused with %q by a rule:\n%s", a.want, got)
				}
			})
		}
	}
}

func droneFile(a ask, image string) string {
	return "kind: pipeline\nname: default\nclone: {disable: true}\n" + a.droneTop + "\nsteps:\n- {name: s, image: " + image + ", commands: ['true'], " + a.drone + "}\n"
}
