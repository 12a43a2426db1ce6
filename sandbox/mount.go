package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mounts puts a step's mounts in order: the kernel's file systems, then files
// and user's mounts with parents before children, so that a mount of /etc
// does not hide /etc/hosts. A user's mount replaces ours at the same place.
func mounts(step *Step, files []specs.Mount) []specs.Mount {
	var all []specs.Mount
	for _, mount := range slices.Concat(kernelMounts(step.Privileged), files, userMounts(step)) {
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

// kernelMounts are what every container has, as the OCI runtime spec's
// default file systems and docker's options say. /run stays the image's own.
func kernelMounts(privileged bool) []specs.Mount {
	access := "ro"
	if privileged {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
	}
}

// checkSources makes sure that every bind mount has a source. docker makes a
// missing one, as root and often by a typing error; here it is asked for.
func checkSources(list []Mount) error {
	for _, m := range list {
		if m.Type != "bind" {
			continue
		}
		_, err := os.Stat(m.Source)
		if errors.Is(err, os.ErrNotExist) && m.Create {
			err = os.MkdirAll(m.Source, 0o755)
		}
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mount %s at %s: no such file or directory on the host (create it, or set create: true)", m.Source, m.Destination)
		}
		if err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.Source, m.Destination, err)
		}
	}
	return nil
}
