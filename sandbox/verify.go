package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// verifyContainer checks the container that the runtime has created, before it is started.
func verifyContainer(pid int, spec *specs.Spec) error {
	if !hasOwnMounts(spec) {
		return nil
	}
	if spec.Process.Terminal {
		if err := verifyConsole(pid); err != nil {
			return err
		}
	}
	return verifyMounts(pid, spec)
}

// verifyMounts checks in a container that has been created and not started that everything is
// mounted in its intended place. A runtime follows links in the image and in the workspace when it
// mounts, and some versions of each can be misled by links that change meanwhile: to mount over /
// or /proc (CVE-2021-30465, CVE-2025-52881), or to mask a path with something other than /dev/null
// (CVE-2025-31133). The kernel's list shows the final result, however it came about.
func verifyMounts(pid int, spec *specs.Spec) error {
	list, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return fmt.Errorf("verify the container's mounts: %w", err)
	}
	defer list.Close()
	mounts, err := mountinfo.GetMountsFromReader(list, nil)
	if err != nil {
		return fmt.Errorf("verify the container's mounts: %w", err)
	}
	seen := map[string]int{}
	for _, m := range mounts {
		most := 1
		if hidesHostCgroups(m, spec) {
			most = 2
		}
		switch {
		case m.Mountpoint == "/" && seen["/"] > 0:
			return errors.New("refused: a mount has ended up at / of the container (a link in the image or the workspace leads there)")
		case isKernelPath(m.Mountpoint) && (seen[m.Mountpoint] == most || !isMeant(m, spec)):
			return fmt.Errorf("refused: a mount has ended up at %s of the container, over the kernel's files (a link in the image or the workspace leads there)", m.Mountpoint)
		}
		seen[m.Mountpoint]++
	}
	return verifyMasks(pid, spec.Linux.MaskedPaths)
}

// hasOwnMounts reports whether a container has a new mount namespace.
func hasOwnMounts(spec *specs.Spec) bool {
	return spec.Linux != nil && slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.MountNamespace && n.Path == ""
	})
}

// hidesHostCgroups reports whether a mount may lie over another one at the same place: the host's
// /sys in a user namespace brings the host's cgroups along, and the container's own are mounted
// over them.
func hidesHostCgroups(m *mountinfo.Info, spec *specs.Spec) bool {
	hostSysfs := slices.ContainsFunc(spec.Mounts, func(s specs.Mount) bool { return s.Source == "/sys" && s.Destination == "/sys" })
	kernels := m.FSType == "cgroup" || m.FSType == "cgroup2" || m.FSType == "tmpfs"
	return hostSysfs && kernels && (m.Mountpoint == cgroupRoot || strings.HasPrefix(m.Mountpoint, cgroupRoot+"/"))
}

// isMeant reports whether a mount at or below /proc or /sys is one that the spec has there. Mounts
// of users never are.
func isMeant(m *mountinfo.Info, spec *specs.Spec) bool {
	if slices.Contains(spec.Linux.MaskedPaths, m.Mountpoint) {
		return true
	}
	if slices.Contains(spec.Linux.ReadonlyPaths, m.Mountpoint) {
		return m.FSType == "proc" || m.FSType == "sysfs"
	}
	return slices.ContainsFunc(spec.Mounts, func(s specs.Mount) bool {
		several := s.Type == "bind" || s.Type == "cgroup" || slices.Contains(s.Options, "rbind")
		switch place := filepath.Clean(s.Destination); {
		case !isKernelPath(place):
			return false
		case m.Mountpoint == place:
			return several || m.FSType == s.Type
		default:
			return several && strings.HasPrefix(m.Mountpoint, place+"/")
		}
	})
}

// verifyMasks makes sure that a masked file is /dev/null, and that a masked directory is no longer
// the kernel's.
func verifyMasks(pid int, paths []string) error {
	root := fmt.Sprintf("/proc/%d/root", pid)
	for _, path := range paths {
		var st unix.Stat_t
		err := unix.Lstat(root+path, &st)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue // this kernel does not have the file
		}
		if err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			var fs unix.Statfs_t
			if err := unix.Statfs(root+path, &fs); err != nil {
				return &os.PathError{Op: "statfs", Path: path, Err: err}
			}
			if fs.Type != unix.PROC_SUPER_MAGIC && fs.Type != unix.SYSFS_MAGIC {
				continue
			}
		case unix.S_IFCHR:
			if st.Rdev == unix.Mkdev(1, 3) {
				continue
			}
		}
		return fmt.Errorf("refused: %s of the container is not masked (is /dev/null replaced in the image or by a mount?)", path)
	}
	return nil
}
