package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever writes a workflow gets of the machine what its runner mounts for a job, and no more,
// in all containers that a workflow can ask for.
func TestHookHoldsEveryContainerAgainstThePolicy(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.flags = "" // the default policy
	secret := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(secret, []byte("SECRET=of-the-machine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount := func(source string) []any {
		return []any{map[string]any{"sourceVolumePath": source, "targetVolumePath": "/m", "readOnly": false}}
	}
	hostile := []struct {
		name, key string
		value     any
		want      string // of the refusal
	}{
		{"the machine as image", "image", "docker://rootfs:/", "rootfs:/"},
		{"a layout as image", "image", "oci:" + r.dir, "oci:"},
		{"an archive as image", "image", "oci-archive:" + secret, "oci-archive:"},
		{"privileged", "createOptions", "--privileged", "privileged"},
		{"capabilities", "createOptions", "--cap-add ALL", "cap_add"},
		{"no seccomp", "createOptions", "--security-opt seccomp=unconfined", ""},
		{"a device", "createOptions", "--device /dev/kmsg", "devices"},
		{"a mount by option", "createOptions", "--volume /etc:/m", "mounts"},
		{"a mount by another option", "createOptions", "--mount type=bind,source=/,target=/m", "mounts"},
		{"the docker socket", "createOptions", "-v /var/run/docker.sock:/s", "docker.sock"},
		{"another cache", "createOptions", "--cache build:/m", "cache"},
		{"the host's network", "createOptions", "--network host", "network"},
		{"the host's processes", "createOptions", "--pid host", ""},
		{"a file of variables", "createOptions", "--env-file " + secret, "secret"},
		{"a variable of the runner", "createOptions", "--env RUNNER_NAME", "RUNNER_NAME"},
		{"a cgroup", "createOptions", "--cgroup-parent /system.slice", "cgroup_parent"},
		{"a label for the runtime", "createOptions", "--label io.katacontainers.config.hypervisor.kernel=/x", "labels"},
		{"a raw specification", "createOptions", "--spec " + secret, ""},
		{"a folder of the machine", "userMountVolumes", mount("/etc"), "/etc"},
		{"a folder above", "userMountVolumes", mount(r.dir), r.dir},
		{"a folder by dots", "userMountVolumes", mount(filepath.Join(r.dir, "work") + "/../secret"), "secret"},
		{"programs of the runner to write", "userMountVolumes", mount(filepath.Join(r.dir, "externals")), "only be read"},
		{"a folder of the machine from the runner", "systemMountVolumes", mount("/etc"), "/etc"},
	}
	container := func(key string, value any) map[string]any {
		return map[string]any{"image": r.image, "entryPoint": "sh", "entryPointArgs": []string{"-c", "'cat /m/passwd /m; env'"}, key: value}
	}
	refused := func(t *testing.T, got hookResult, want string) {
		t.Helper()
		if got.code != 125 || !strings.Contains(got.out, "::error::stepexec: ") || !strings.Contains(got.out, want) || strings.Contains(got.out, "of-the-machine") {
			t.Errorf("code %d, want a refusal with %q: %s", got.code, want, got.out)
		}
	}
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			bad := container(test.key, test.value)
			for way, args := range map[string]map[string]any{"the job's container": {"container": bad}, "a service": {"services": []any{bad}}} {
				r.state = nil
				t.Log(way)
				refused(t, r.call(t, "prepare_job", args), test.want)
			}
			r.state = nil
			t.Log("a container without a job")
			refused(t, r.call(t, "run_container_step", bad), test.want)
		})
	}
	r.prepare(t, nil)
	for _, test := range hostile {
		t.Run(test.name+", beside a job", func(t *testing.T) {
			refused(t, r.call(t, "run_container_step", container(test.key, test.value)), test.want)
		})
	}
	got := r.script(t, "ls /var/run/docker.sock 2>/dev/null || echo none; ls /__e >/dev/null && echo externals")
	if got.code != 0 || got.out != "none\nexternals\n" {
		t.Errorf("what a job has: %d, %s", got.code, got.out)
	}
}

// A link that one job puts where the runner has a folder is not what the next job gets.
func TestHookMountsNoLinksOfEarlierJobs(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	r.flags = ""
	if err := os.WriteFile(filepath.Join(r.dir, "secret"), []byte("of-the-machine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"_tool", "_actions", "_temp/_github_home"} {
		for _, to := range []string{r.dir, "/etc", "../.."} {
			t.Run(link+" to "+to, func(t *testing.T) {
				code := "rm -rf /__w/" + link + "; mkdir -p /__w/_temp; ln -s " + to + " /__w/" + link
				work := map[string]any{"sourceVolumePath": filepath.Join(r.dir, "work"), "targetVolumePath": "/__w", "readOnly": false}
				got := r.call(t, "run_container_step", map[string]any{
					"image": r.image, "entryPoint": "sh", "entryPointArgs": []string{"-c", `"` + code + `"`}, "systemMountVolumes": []any{work},
				})
				if got.code != 0 {
					t.Fatal(got.out)
				}
				defer func() {
					if err := os.Remove(filepath.Join(r.dir, "work", link)); err != nil {
						t.Error(err)
					}
				}()
				args := r.example(t, "prepare_job")
				delete(args, "services")
				delete(args["container"].(map[string]any), "portMappings")
				r.state = nil
				got = r.call(t, "prepare_job", args)
				if got.code == 0 {
					seen := r.script(t, "cat /__w/"+link+"/secret /github/home/secret; ls /__w/"+link+"/ /github/home")
					t.Errorf("the next job has %s", seen.out)
				} else if !strings.Contains(got.out, "mounts[") {
					t.Errorf("the refusal is %s", got.out)
				}
			})
		}
	}
}
