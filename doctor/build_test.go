package doctor_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/doctor"
)

func TestBuildsSaysWhichRecipesThisMachineCanDo(t *testing.T) {
	files := map[string]string{
		"/proc/filesystems": "nodev\toverlay\n", "/proc/self/ns/user": "", "/dev/fuse": "", "/proc/sys/user/max_user_namespaces": "1000",
	}
	without := func(name, text string) map[string]string {
		changed := map[string]string{}
		for file, content := range files {
			changed[file] = content
		}
		if changed[name] = text; text == "" {
			delete(changed, name)
		}
		return changed
	}
	network := func(state doctor.State) []doctor.Result {
		return []doctor.Result{{Name: "private network", State: state, Detail: "no nftables"}}
	}
	for _, test := range []struct {
		name    string
		uid     int
		files   map[string]string
		results []doctor.Result
		want    string // the recipes that cannot be done
	}{
		{"root", 0, files, network(doctor.OK), ""},
		{"a user", 1000, files, network(doctor.OK), "buildah, user; fuse-overlayfs; docker"},
		{"no namespaces", 0, without("/proc/sys/user/max_user_namespaces", "0"), network(doctor.OK), "buildah, namespace; buildah, user"},
		{"no overlay", 0, without("/proc/filesystems", "nodev\text4\n"), network(doctor.OK), "overlay"},
		{"no fuse", 0, without("/dev/fuse", ""), network(doctor.OK), "fuse-overlayfs"},
		{"no network", 0, files, network(doctor.Warn), "docker"},
		{"no steps", 0, files, append(network(doctor.OK), doctor.Result{Name: "container", State: doctor.Fail}),
			"umoci; buildah; buildah, namespace; buildah, user; podman; overlay; fuse-overlayfs; docker"},
	} {
		m := machine(t, test.files)
		m.UID = test.uid
		var not []string
		for _, r := range m.Builds(test.results) {
			switch r.State {
			case doctor.Warn:
				not = append(not, strings.TrimPrefix(r.Name, "build: "))
			case doctor.Fail:
				t.Errorf("%s: %s fails: steps run without it", test.name, r.Name)
			}
		}
		if got := strings.Join(not, "; "); got != test.want {
			t.Errorf("%s: %q cannot be done, want %q", test.name, got, test.want)
		}
	}
}
