package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupMade is the extended attribute of directories that stepexec has created above the cgroups
// of steps. The last run to use such a directory removes it; directories without the attribute
// belong to somebody else.
const cgroupMade = "trusted.stepexec"

// cgroupParents is a run's file that lists the groups above those of its steps.
const cgroupParents = "cgroup-parents"

// cgroupsPath returns the path at which the runtime should put a container. With systemd it names a
// slice and the parts of a scope's name (SLICE:PREFIX:NAME becomes PREFIX-NAME.scope); otherwise it
// is a path below the root of every hierarchy.
func cgroupsPath(parent, containerID string, systemd bool) (string, error) {
	if systemd {
		if parent == "" {
			parent = "system.slice"
		}
		// A colon would end the path's slice part.
		if !regexp.MustCompile(`^[A-Za-z0-9_.-]+\.slice$`).MatchString(parent) {
			return "", &LimitError{"cgroup_parent", fmt.Errorf("%q is not the name of a systemd slice, such as ci.slice", parent)}
		}
		return parent + ":stepexec:" + containerID, nil
	}
	if parent != "" && (!filepath.IsAbs(parent) || filepath.Clean(parent) != parent || strings.ContainsAny(parent, "\n\x00")) {
		return "", &LimitError{"cgroup_parent", fmt.Errorf("%q is not an absolute path without . and .., such as /ci/builds", parent)}
	}
	return filepath.Join("/", parent, cgroupName(containerID)), nil
}

// cgroupsPath returns the path at which the runtime should put a step. Without root, and without a
// group that belongs to the user, it returns "" and the runtime uses no group.
func (h *Host) cgroupsPath(step *Step) (string, error) {
	parent := step.Advanced.CgroupParent
	if parent == "" && h.rootless {
		if parent = h.cgroupParent; parent == "" {
			return "", nil
		}
	}
	return cgroupsPath(parent, h.containerID(step), h.systemd)
}

// makeCgroupParent creates the missing groups above a step's. The runtime would create them too,
// but would leave them behind.
func (h *Host) makeCgroupParent(parent string) error {
	if h.systemd {
		parent = slicePath(parent) // systemd creates and removes it, but the clean-up has to find it
	}
	if parent == "" || parent == "/" {
		return nil
	}
	// This comes first, so that a run that dies now leaves nothing unrecorded.
	if err := h.noteCgroupParent(parent); err != nil || h.systemd {
		return err
	}
	for _, tree := range h.cgroups {
		dir := tree.mountpoint
		for name := range strings.SplitSeq(parent[1:], "/") {
			dir = filepath.Join(dir, name)
			if err := makeCgroup(dir); err != nil {
				return fmt.Errorf("make cgroup %s: %w", parent, err)
			}
		}
	}
	return nil
}

// noteCgroupParent adds to the list of groups that contain groups of steps.
func (h *Host) noteCgroupParent(parent string) error {
	list, err := os.OpenFile(filepath.Join(h.dir, cgroupParents), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = list.WriteString(parent + "\n")
	return errors.Join(err, list.Close())
}

// slicePath returns the path of a slice's group: a-b.slice lies in a.slice (systemd.slice(5)).
func slicePath(slice string) string {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok {
		return ""
	}
	path := "/"
	for i, letter := range name {
		if letter == '-' {
			path += name[:i] + ".slice/"
		}
	}
	return path + slice
}

func makeCgroup(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Setxattr(dir, cgroupMade, []byte("1"), 0); err != nil {
		return errors.Join(&os.PathError{Op: "setxattr", Path: dir, Err: err}, os.Remove(dir))
	}
	return nil
}

// removeCgroupParents removes the groups that stepexec has created above those of a run's steps.
// Groups that other runs or other processes use stay.
func removeCgroupParents(runDir string) error {
	list, err := os.ReadFile(filepath.Join(runDir, cgroupParents))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	trees, err := listHierarchies()
	if err != nil {
		return err
	}
	var failed []error
	for parent := range strings.Lines(string(list)) {
		for _, tree := range trees {
			for path := strings.TrimSuffix(parent, "\n"); path != "/" && path != "."; path = filepath.Dir(path) {
				failed = append(failed, removeCgroup(filepath.Join(tree.mountpoint, path)))
			}
		}
	}
	return errors.Join(failed...)
}

// removeCgroup removes a group that stepexec has created and nobody uses.
func removeCgroup(dir string) error {
	_, err := unix.Getxattr(dir, cgroupMade, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "getxattr", Path: dir, Err: err}
	}
	err = unix.Rmdir(dir)
	if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
