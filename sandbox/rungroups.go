package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// runGroups returns the cgroups of a run's containers in every tree.
func runGroups(dir string) ([]string, error) {
	trees, err := listHierarchies()
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, cgroupParents))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var groups []string
	parents := append(strings.Fields(string(list)), "/", "/system.slice")
	slices.Sort(parents)
	for _, tree := range trees {
		for _, parent := range slices.Compact(parents) {
			within := filepath.Join(tree.mountpoint, parent)
			entries, err := os.ReadDir(within)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			for _, entry := range entries {
				if strings.HasPrefix(entry.Name(), cgroupName(filepath.Base(dir))+"-") {
					groups = append(groups, filepath.Join(within, entry.Name()))
				}
			}
		}
	}
	return groups, nil
}

// clearGroups kills the remaining processes in a run's cgroups and removes the groups: a runtime
// that is itself killed leaves groups, and processes waiting in them.
func clearGroups(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runtimeTimeout)
	defer cancel()
	groups, err := runGroups(dir)
	if err != nil || len(groups) == 0 {
		return err
	}
	if err := killGroups(ctx, groups); err != nil {
		return err
	}
	return removeGroups(dir)
}

// killCgroups kills every process of a run's containers and waits until they are dead. A runtime
// would kill one container after the other, at 100 ms each.
func killCgroups(ctx context.Context, dir string) error {
	groups, err := runGroups(dir)
	if err != nil {
		return err
	}
	return killGroups(ctx, groups)
}

func killGroups(ctx context.Context, groups []string) error {
	for _, group := range groups { // all groups before any waiting: a process may be frozen by a group of another tree
		if err := thawGroup(group); err != nil {
			return err
		}
	}
	for _, group := range groups {
		for {
			killed, err := killCgroup(group)
			if err = errors.Join(err, context.Cause(ctx)); err != nil {
				return fmt.Errorf("kill the processes of %s: %w", group, err)
			}
			if !killed {
				break
			}
		}
	}
	return nil
}

func thawGroup(group string) error {
	if _, err := os.Stat(filepath.Join(group, "freezer.state")); err != nil {
		return nil //nolint:nilerr // the group belongs to another tree, or is gone
	}
	return cgroup{v1: map[string]string{"freezer": group}}.thaw()
}

// killCgroup kills the processes in a group, and in groups that a step may have created below it,
// and reports whether there were any.
func killCgroup(group string) (killed bool, err error) {
	err = walkGroup(group, beneath.Visitor{Enter: func(dir *os.File) error {
		some, err := cgroup{dir: fmt.Sprintf("/proc/self/fd/%d", dir.Fd())}.kill()
		killed = killed || some
		return err
	}})
	return killed, err
}

// walkGroup visits a group and those below it, which may disappear meanwhile.
func walkGroup(group string, v beneath.Visitor) error {
	dir, err := os.Open(group)
	if err != nil {
		return ignoreGone(err)
	}
	defer dir.Close()
	v.Entry = func(dir *os.File, name string) (enter bool, err error) {
		var st unix.Stat_t
		err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		return st.Mode&unix.S_IFMT == unix.S_IFDIR, ignoreGone(err)
	}
	return ignoreGone(beneath.Walk(dir, v))
}

// kill kills the processes of one group. It uses a pid only after a descriptor holds the process
// and the process has been seen in the group again. It does not wait for a process that does not
// die because of an uninterruptible system call.
func (c cgroup) kill() (killed bool, err error) {
	first, err := c.pids()
	if err != nil {
		return false, ignoreGone(err)
	}
	for pid := range first {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has just ended
		}
		again, err := c.pids()
		if err == nil && again[pid] {
			if err = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err == nil {
				killed = true
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 1000)
			}
		}
		unix.Close(pidfd)
		if err := ignoreGone(err); err != nil {
			return killed, err
		}
	}
	return killed, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// removeGroups removes the groups that a runtime has left. They contain no processes.
func removeGroups(dir string) error {
	groups, err := runGroups(dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, group := range groups {
		failed = append(failed, removeGroup(group))
	}
	return errors.Join(failed...)
}

// removeGroup removes a group and those below it. It fails when one contains a process. Few steps
// create groups, so it looks for them only when the kernel refuses to remove the group.
func removeGroup(group string) error {
	if ignoreGone(unix.Rmdir(group)) == nil {
		return nil
	}
	remove := func(parent *os.File, name string) error {
		return ignoreGone(unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR))
	}
	err := walkGroup(group, beneath.Visitor{Leave: remove})
	if removed := ignoreGone(unix.Rmdir(group)); removed != nil {
		err = errors.Join(err, &os.PathError{Op: "rmdir", Path: group, Err: removed})
	}
	return err
}
