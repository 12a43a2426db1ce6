package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// strayAge is the age at which a group without processes counts as left behind. The group of a
// container that is being created is empty for some milliseconds.
const strayAge = time.Hour

var runGroupName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^stepexec-([a-z2-7]{10})-`) })

// removeStrayGroups removes the cgroups of runs that have ended, of any state root. Their own runs
// may have failed to do so because they and the runtime were killed, or were run by a stepexec that
// did not look for them. It removes only groups without processes, and none of a live run. It
// searches below every group, because a run that has ended no longer says which groups it used.
func removeStrayGroups(trees []hierarchy, runs string, now time.Time) error {
	lives := map[string]bool{}
	var failed []error
	for _, tree := range trees {
		var made []string // groups that stepexec created above those of steps
		err := filepath.WalkDir(tree.mountpoint, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() || path == tree.mountpoint {
				return ignoreGone(err)
			}
			if _, err := unix.Getxattr(path, cgroupMade, nil); err == nil {
				made = append(made, path)
			}
			name := runGroupName().FindStringSubmatch(entry.Name())
			if name == nil {
				return nil
			}
			if !isStray(path, now) { // before any look for the run: that reads all of /proc
				return fs.SkipDir
			}
			if _, known := lives[name[1]]; !known {
				lives[name[1]] = runLives(runs, name[1])
			}
			if !lives[name[1]] {
				failed = append(failed, ignoreForeign(removeGroup(path)))
			}
			return fs.SkipDir
		})
		failed = append(failed, err)
		for i := len(made) - 1; i >= 0; i-- { // reverse order, because lower groups come later
			if isStray(made[i], now) {
				failed = append(failed, ignoreForeign(removeCgroup(made[i])))
			}
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove cgroups of runs that are over: %w", err)
	}
	return nil
}

// ignoreForeign drops the error for a group of another user, whose own stepexec removes it.
func ignoreForeign(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// isStray reports whether a group is old and has no process in it or below it.
func isStray(group string, now time.Time) bool {
	info, err := os.Stat(group)
	if err != nil || now.Sub(info.ModTime()) < strayAge {
		return false
	}
	empty := true
	err = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		procs, err := cgroup{dir: path}.pids()
		empty = empty && len(procs) == 0
		return err
	})
	return err == nil && empty
}

// runLives reports whether a run is alive, or its leftovers still wait to be cleared away. A run of
// another state root is recognised by its guard, which has the run's folder among its arguments.
func runLives(runs, id string) bool {
	if _, err := os.Lstat(filepath.Join(runs, id)); err == nil {
		return true
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return true
	}
	word := regexp.MustCompile(`/runs/` + id + `\x00`)
	for _, process := range processes {
		if line, err := os.ReadFile(process); err == nil && word.Match(line) {
			return true
		}
	}
	return false
}
