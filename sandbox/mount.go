package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mounts returns a step's mounts in order: the kernel's file systems, then files and the user's
// mounts with parents before children, so that a mount of /etc does not hide /etc/hosts. A user's
// mount replaces stepexec's at the same place.
func mounts(step *Step, files []specs.Mount) []specs.Mount {
	var all []specs.Mount
	for _, mount := range slices.Concat(kernelMounts(step), files, userMounts(step)) {
		all = slices.DeleteFunc(all, func(m specs.Mount) bool { return m.Destination == mount.Destination })
		all = append(all, mount)
	}
	slices.SortStableFunc(all, func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	return all
}

func depth(destination string) int {
	return strings.Count(path.Clean(destination), "/")
}

func userMounts(step *Step) []specs.Mount {
	var list []specs.Mount
	for _, m := range step.Mounts {
		mount := specs.Mount{
			Type: m.Type, Source: m.Source, Destination: path.Clean(m.Destination), Options: m.Options,
		}
		if m.Type == "tmpfs" {
			mount.Source = "tmpfs"
		}
		list = append(list, mount)
	}
	return list
}

// kernelMounts returns the mounts that every container has, following the OCI runtime spec's
// default file systems and docker's options. /run stays the image's own.
func kernelMounts(step *Step) []specs.Mount {
	access := "ro"
	if step.Security.Privileged {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", shmOption(step.Limits.ShmSize)}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
	}
}

// checkDestinations refuses mounts over the kernel's file systems, and over the root. A fake /proc
// makes the runtime write its own security settings into the attacker's files (CVE-2019-16884,
// CVE-2025-52881).
func checkDestinations(list []Mount) error {
	for _, m := range list {
		switch clean := path.Clean(m.Destination); {
		case !path.IsAbs(m.Destination):
			return fmt.Errorf("mount at %s: the path must be absolute", m.Destination)
		case clean == "/" || isKernelPath(clean):
			return fmt.Errorf("mount at %s: refused: nothing can be mounted at /, or at or below /proc and /sys", m.Destination)
		}
	}
	return nil
}
