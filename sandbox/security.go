package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// secure adds to a spec everything that protects the host from a step: capabilities, system call
// filter, AppArmor profile, masked paths, and the devices that it may still use. As in docker, a
// privileged step has no filter and no masked paths, except those that it asks for by name.
func (h *Host) secure(spec *specs.Spec, step *Step) error {
	s := &step.Security
	granted, err := grantedCapabilities(h.capabilities, s)
	if err != nil {
		return err
	}
	spec.Process.Capabilities = capabilitySets(granted)
	spec.Process.NoNewPrivileges = !s.Privileged && !s.AllowNewPrivileges
	if spec.Process.ApparmorProfile, err = appArmorProfile(s.AppArmor, "/sys"); err != nil {
		return err
	}
	if spec.Linux.Seccomp, err = seccompFilter(step, spec); err != nil {
		return err
	}
	if !s.Privileged && !s.Unmask {
		spec.Linux.MaskedPaths = maskedPaths()
		spec.Linux.ReadonlyPaths = readonlyPaths()
	}
	if s.ReadOnly {
		makeReadOnly(spec, step)
	}
	forbidCoreDumps(spec.Process)
	if err := addDevices(spec, step); err != nil {
		return err
	}
	return injectCDI(spec, h.cdiDirs, s.CDI)
}

// processUser returns the user of the step's processes. The primary group is listed again among the
// supplementary groups: otherwise a step could shed a group that a file's mode denies
// (CVE-2022-36109).
func processUser(who *user.ExecUser) specs.User {
	groups := []uint32{uint32(who.Gid)}
	for _, gid := range who.Sgids {
		groups = append(groups, uint32(gid))
	}
	return specs.User{UID: uint32(who.Uid), GID: uint32(who.Gid), AdditionalGids: groups}
}

// maskedPaths returns the files of /proc and /sys that reveal the host or reach its hardware:
// docker's list of version 29. The runtime skips those that the kernel does not have. The counters
// of a processor's throttling show a step what other processes compute (GHSA-6fw5-f8r9-fgfm).
func maskedPaths() []string {
	throttling, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle") // the only possible error is a malformed pattern
	return append([]string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}, throttling...)
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// checkDirectory refuses a working directory in /proc: /proc/self/fd/7 could be a directory of the
// host that the runtime has open (CVE-2024-21626).
func checkDirectory(dir string) error {
	if clean := filepath.Clean(dir); clean == "/proc" || strings.HasPrefix(clean, "/proc/") {
		return fmt.Errorf("working directory %s: refused: it cannot be in /proc", dir)
	}
	return nil
}

// makeReadOnly makes the root file system read-only, and with it stepexec's own files, which the
// step may otherwise change. /dev and the tmpfs mounts stay writable. Before the runtime makes the
// root read-only, it creates missing mount points in the step's own upper directory.
func makeReadOnly(spec *specs.Spec, step *Step) {
	spec.Root.Readonly = true
	for i, m := range spec.Mounts {
		users := slices.ContainsFunc(step.Mounts, func(u Mount) bool { return filepath.Clean(u.Destination) == m.Destination })
		if users || m.Type != "bind" && m.Type != "sysfs" && m.Type != "cgroup" {
			continue
		}
		m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "rw" })
		spec.Mounts[i].Options = append(m.Options, "ro")
	}
}

// forbidCoreDumps is for a step that sets no core ulimit of its own: a core file holds the step's
// secrets, and where the host pipes core files to a program, the secrets leave the container. For
// such a pipe the kernel ignores the limit, except that it takes 1 to mean "none at all"; a file of
// one byte is not written either.
func forbidCoreDumps(process *specs.Process) {
	const kind = "RLIMIT_CORE"
	if !slices.ContainsFunc(process.Rlimits, func(r specs.POSIXRlimit) bool { return r.Type == kind }) {
		process.Rlimits = append(process.Rlimits, specs.POSIXRlimit{Type: kind, Soft: 1, Hard: 1})
	}
}
