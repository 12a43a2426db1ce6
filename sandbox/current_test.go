package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

func TestAPreparedSandboxIsCurrentUntilWhatItIsMadeOfIsReplaced(t *testing.T) {
	host := openHost(t)
	for _, test := range []struct {
		name, directory string
		change          func(t *testing.T, workspace string)
		want            bool
	}{
		{"nothing happened", "/ws", func(*testing.T, string) {}, true},
		{"files came into the workspace", "/ws", func(t *testing.T, ws string) { write(t, filepath.Join(ws, "new"), "") }, true},
		{"the workspace was replaced", "/ws", replace, false},
		{"the workspace is gone", "/ws", func(t *testing.T, ws string) { must(t, os.Rename(ws, ws+".old")) }, false},
		{"the directory was replaced", "/ws/sub", func(t *testing.T, ws string) { replace(t, filepath.Join(ws, "sub")) }, false},
		{"the directory is gone", "/ws/sub", func(t *testing.T, ws string) { must(t, os.Remove(filepath.Join(ws, "sub"))) }, false},
		{"a link leads to another directory", "/ws/link", func(t *testing.T, ws string) {
			must(t, os.Remove(filepath.Join(ws, "link")))
			must(t, os.Symlink("..", filepath.Join(ws, "link")))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			workspace := filepath.Join(t.TempDir(), "ws")
			must(t, os.MkdirAll(filepath.Join(workspace, "sub"), 0o755))
			must(t, os.Symlink("sub", filepath.Join(workspace, "link")))
			step := script(t, "true")
			step.Directory = test.directory
			step.Mounts = []sandbox.Mount{{Type: "bind", Source: workspace, Destination: "/ws", Options: []string{"rbind"}}}
			_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
				test.change(t, workspace)
				if got := s.IsCurrent(); got != test.want {
					t.Errorf("current: %t, want %t", got, test.want)
				}
			})
			must(t, err)
		})
	}
}

func replace(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Rename(dir, dir+".old"))
	must(t, os.Mkdir(dir, 0o755))
}
