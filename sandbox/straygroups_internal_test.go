package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/rootless"
)

// What runs left that no longer have a folder is gone once it is old and empty.
func TestStrayGroupsAreRemoved(t *testing.T) {
	if rootless.InNamespace() {
		t.Skip("groups at the root of the trees are root's")
	}
	trees, err := listHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, tree := range trees {
		name := filepath.Base(tree.mountpoint)
		if strings.Contains(tree.mountpoint, "cpuset") && !tree.unified {
			continue // a new group of it takes no process, so none of it can be busy
		}
		t.Run(name, func(t *testing.T) {
			runs := t.TempDir()
			top := filepath.Join(tree.mountpoint, fmt.Sprintf("stray-%d", os.Getpid())) // other tests' groups are not of this one
			parent := filepath.Join(top, "parent")
			if err := errors.Join(os.Mkdir(top, 0o755), makeCgroup(parent)); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(top)
			trees := []hierarchy{{mountpoint: top}}
			groups := map[string]string{
				"empty": filepath.Join(parent, "stepexec-aaaaaaaaaa-1"), "busy": filepath.Join(parent, "stepexec-bbbbbbbbbb-1"),
				"living": filepath.Join(parent, "stepexec-cccccccccc-1"), "other": filepath.Join(parent, "somebody-else"),
			}
			for _, group := range groups {
				if err := errors.Join(os.Mkdir(group, 0o755), os.Mkdir(filepath.Join(group, "below"), 0o755)); err != nil {
					t.Fatal(err)
				}
				defer removeGroup(group)
			}
			defer os.Remove(parent)
			if err := os.Mkdir(filepath.Join(runs, "cccccccccc"), 0o700); err != nil {
				t.Fatal(err)
			}
			busy := exec.Command("sleep", "1000")
			if err := busy.Start(); err != nil {
				t.Fatal(err)
			}
			procs := filepath.Join(groups["busy"], "below", "cgroup.procs")
			if err := os.WriteFile(procs, fmt.Append(nil, busy.Process.Pid), 0); err != nil {
				t.Error(err)
			}
			left := func() (names string) {
				for _, name := range []string{"empty", "busy", "living", "other"} {
					if _, err := os.Stat(groups[name]); err == nil {
						names += " " + name
					}
				}
				return names
			}
			if err := removeStrayGroups(trees, runs, time.Now()); err != nil || left() != " empty busy living other" {
				t.Errorf("new ones: left%s, %v", left(), err)
			}
			if err := removeStrayGroups(trees, runs, time.Now().Add(2*strayAge)); err != nil || left() != " busy living other" {
				t.Errorf("old ones: left%s, %v", left(), err)
			}
			_ = busy.Process.Kill()
			_ = busy.Wait()
			for _, name := range []string{"living", "other"} {
				if err := removeGroup(groups[name]); err != nil {
					t.Error(err)
				}
			}
			if err := removeStrayGroups(trees, runs, time.Now().Add(2*strayAge)); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the parent that stepexec made: %v", err)
			}
		})
	}
}
