package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel tries the system calls that stepexec needs, and those that it uses where they exist:
// distributions add and remove calls without changing the version.
func (m *Machine) kernel(context.Context) Result {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fail(fmt.Sprintf("uname: %v", err), "")
	}
	release := "Linux " + unix.ByteSliceToString(name.Release[:])
	var needed, useful []string
	for _, call := range calls() {
		switch err := call.try(); {
		case err == nil || !errors.Is(err, unix.ENOSYS):
		case call.needed:
			needed = append(needed, call.name)
		default:
			useful = append(useful, call.name)
		}
	}
	switch {
	case len(needed) > 0:
		return fail(fmt.Sprintf("%s without %s", release, strings.Join(needed, ", ")), "run a kernel of version 5.6 or newer")
	case len(useful) > 0:
		return warn(fmt.Sprintf("%s without %s: directories of the workspace cannot be mounted", release, strings.Join(useful, ", ")), "run a kernel of version 5.12 or newer")
	}
	return ok(release)
}

type systemCall struct {
	name   string
	needed bool
	try    func() error
}

func calls() []systemCall {
	closing := func(fd int, err error) error {
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
	return []systemCall{
		{"pidfd_open", true, func() error { return closing(unix.PidfdOpen(os.Getpid(), 0)) }},
		{"openat2", true, func() error {
			return closing(unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}))
		}},
		{"open_tree", false, func() error { return closing(unix.OpenTree(-1, "", 0)) }},
		{"mount_setattr", false, func() error { return unix.MountSetattr(-1, "", 0, &unix.MountAttr{}) }},
	}
}

// seccomp checks whether the kernel filters system calls. The check of the runtime covers the
// runtime's support.
func (m *Machine) seccomp(context.Context) Result {
	actions, err := m.read("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil || !strings.Contains(actions, "errno") {
		return fail("the kernel has no seccomp filters, which every step gets", "run a kernel with CONFIG_SECCOMP_FILTER, or set seccomp: unconfined for every step")
	}
	return ok("system calls can be filtered")
}

// securityModules reports the active security modules. Steps need none.
func (m *Machine) securityModules(context.Context) Result {
	list, err := m.read("/sys/kernel/security/lsm")
	if err != nil {
		_, err := os.Stat(filepath.Join(m.Files, "/sys/module/apparmor"))
		if err == nil {
			return ok("AppArmor (securityfs is not mounted)")
		}
		return ok("none known (securityfs is not mounted); profiles of AppArmor cannot be used")
	}
	modules := strings.Split(list, ",")
	var has []string
	for _, module := range modules {
		switch module {
		case "apparmor":
			has = append(has, "AppArmor: the key apparmor works")
		case "selinux":
			mode := "permissive"
			if enforce, err := m.read("/sys/fs/selinux/enforce"); err == nil && enforce == "1" {
				mode = "enforcing"
			}
			has = append(has, "SELinux ("+mode+"): steps get no label of their own")
		}
	}
	if len(has) == 0 {
		return ok("no AppArmor, no SELinux: the key apparmor cannot be used (" + list + ")")
	}
	return ok(strings.Join(has, "; "))
}

// openFiles checks the limit of open files: a step takes about ten of stepexec's.
func (m *Machine) openFiles(context.Context) Result {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return warn(fmt.Sprintf("getrlimit: %v", err), "")
	}
	detail := fmt.Sprintf("%d (hard limit %d)", limit.Cur, limit.Max)
	if limit.Max < 1024 {
		return warn(detail+": too few for many steps at once", "ulimit -Hn 1048576")
	}
	return ok(detail)
}
