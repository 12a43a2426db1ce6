package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/sandbox"
)

func TestMountPointsLookAsIfTheRuntimeHadMadeThem(t *testing.T) {
	host := openHost(t)
	inMemory, err := host.Dir("other") // ROOT/runs/ID/private/other
	must(t, err)
	all := filepath.Join(inMemory, "../../../../mountpoints")
	see := func(patch []byte) string {
		// Over what is mounted nothing can be seen: the mounts are taken away.
		step := script(t, "umount /proc /sys/fs/cgroup /sys /dev/pts /dev/shm /dev/mqueue /dev /etc/hosts /etc/resolv.conf /data/below 2>/dev/null || true\n"+
			"find / -xdev ! -path '/bin/*' -exec stat -c '%n %F %a %u %g %s' {} + | grep -v '^/ \\|^/etc ' | sort; umask")
		step.Security.Privileged = true
		step.Mounts = []sandbox.Mount{{Type: "bind", Source: t.TempDir(), Destination: "/data/below", Options: []string{"rbind"}}}
		step.Advanced.SpecPatch = patch
		stdout, stderr, exit := output(t, host, step)
		if exit.Code != 0 {
			t.Fatalf("%+v: %s", exit, stderr)
		}
		return strings.ReplaceAll(stdout, "regular empty file 644", "regular empty file 755") // runc makes files of 755 until 1.1
	}
	byRuntime := see([]byte(`{}`)) // a patch may change mounts, so the runtime makes the mount points
	for _, line := range []string{"/data/below directory 755 0 0 ", "/etc/hosts regular empty file 755 0 0 0", "/run/stepexec directory 755 0 0 "} {
		if !strings.Contains(byRuntime, "\n"+line) {
			t.Errorf("%q is missing: %s", line, byRuntime)
		}
	}
	if made, err := os.ReadDir(all); err == nil {
		t.Errorf("made for a patched step: %v", made)
	}
	if diff := cmp.Diff(byRuntime, see(nil)); diff != "" {
		t.Errorf("what the step sees (- runtime's + ours): %s", diff)
	}
	if made, err := os.ReadDir(all); err != nil || len(made) != 1 {
		t.Errorf("made for a step: %v, %v", made, err)
	}
	before := see(nil)
	if made, err := os.ReadDir(all); err != nil || len(made) != 1 || before != byRuntime {
		t.Errorf("made for a further step: %v, %v; it sees %s", made, err, before)
	}
}
