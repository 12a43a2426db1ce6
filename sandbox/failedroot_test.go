package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

// A step can fail when its folder is there and its root file system is not yet. What is
// removed then is the step's folder, and never the working directory, which is the user's.
func TestStepWithoutARootLeavesTheWorkingDirectoryAlone(t *testing.T) {
	for name, change := range map[string]func(*sandbox.Step){
		"maps that cannot be": func(s *sandbox.Step) {
			s.User, s.Security.UIDMap = "1000", []sandbox.IDMap{{Container: 0, Host: 100000, Size: 10}}
		},
		"no such layer": func(s *sandbox.Step) { s.Lowerdirs = []string{"/no/such/layer"} },
	} {
		t.Run(name, func(t *testing.T) {
			host, step := openHost(t), mapped(t, "true")
			change(step)
			t.Chdir(t.TempDir())
			must(t, os.WriteFile("file", nil, 0o600))
			if _, err := host.Prepare(t.Context(), step); err == nil {
				t.Fatal("the step was prepared")
			}
			if _, err := os.Stat("file"); err != nil {
				t.Fatal(err)
			}
			dir, err := host.Dir("other")
			must(t, err)
			if _, err := os.Stat(filepath.Join(filepath.Dir(dir), step.ID)); !os.IsNotExist(err) {
				t.Errorf("left behind: the step's folder: %v", err)
			}
		})
	}
}
