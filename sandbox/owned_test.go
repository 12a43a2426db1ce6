package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// The folders are on a file system that cannot be mounted with other ids.
func TestWarningAboutFoldersIsOfThoseThatTheUserHasNot(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "ramfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	own, roots := filepath.Join(dir, "own"), filepath.Join(dir, "roots")
	must(t, os.Mkdir(own, 0o755))
	must(t, os.Chown(own, 1000, 1000))
	must(t, os.Mkdir(roots, 0o755))
	for _, test := range []struct{ folder, warning string }{
		{own, ""},
		{roots, "user 1000 cannot be given " + roots},
	} {
		var warnings []string
		host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Warn: func(line string) { warnings = append(warnings, line) }})
		must(t, err)
		step := script(t, "test ! -O /given || touch /given/file")
		step.User = "1000:1000"
		step.Mounts = []sandbox.Mount{{Type: "bind", Source: test.folder, Destination: "/given", Options: []string{"rbind", "rw"}, Owned: true}}
		if _, stderr, exit := output(t, host, step); exit.Code != 0 {
			t.Errorf("%s: exit %+v: %s", test.folder, exit, stderr)
		}
		must(t, host.Close())
		said := strings.Join(warnings, "\n")
		if test.warning == "" && said != "" || !strings.HasPrefix(said, test.warning) {
			t.Errorf("%s: warned %q, want %q", test.folder, said, test.warning)
		}
	}
	if _, err := os.Stat(filepath.Join(own, "file")); err != nil {
		t.Error(err)
	}
}
