package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
)

// needed are the capabilities without which root cannot unpack images, mount them, or confine
// steps.
var needed = []capability.Cap{
	capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FOWNER, capability.CAP_FSETID, capability.CAP_KILL,
	capability.CAP_SETGID, capability.CAP_SETUID, capability.CAP_SETPCAP, capability.CAP_SETFCAP, capability.CAP_MKNOD,
	capability.CAP_SYS_CHROOT, capability.CAP_SYS_ADMIN,
}

// useful are the capabilities that some settings of steps need, with their purpose.
var useful = []struct {
	capability capability.Cap
	lacks      string
}{
	{capability.CAP_NET_ADMIN, "no private networks"},
	{capability.CAP_SYS_RESOURCE, "ulimits cannot be raised above stepexec's own hard limits"},
	{capability.CAP_SYS_PTRACE, "some runtimes cannot look at their processes"},
}

func (m *Machine) privileges(context.Context) Result {
	if !m.isRoot() {
		return ok(fmt.Sprintf("user %d: steps run in a user namespace", m.UID))
	}
	own, err := capability.NewPid2(0)
	if err == nil {
		err = own.Load()
	}
	if err != nil {
		return fail(fmt.Sprintf("read own capabilities: %v", err), "")
	}
	var not, lacks []string
	for _, c := range needed {
		if !own.Get(capability.EFFECTIVE, c) {
			not = append(not, "CAP_"+strings.ToUpper(c.String()))
		}
	}
	if len(not) > 0 {
		return fail("root without "+strings.Join(not, ", "), "give the container or service that stepexec runs in these capabilities, such as docker run --privileged")
	}
	for _, u := range useful {
		if !own.Get(capability.EFFECTIVE, u.capability) {
			lacks = append(lacks, fmt.Sprintf("CAP_%s (%s)", strings.ToUpper(u.capability.String()), u.lacks))
		}
	}
	if len(lacks) > 0 {
		return warn("root without "+strings.Join(lacks, ", "), "")
	}
	return ok("root, with all capabilities that are needed")
}

// userNamespaces checks user namespaces, which normal users need, and so do steps with uidmap.
func (m *Machine) userNamespaces(context.Context) Result {
	problem, remedy := m.noUserNamespaces()
	switch {
	case problem == "":
		return ok("can be made")
	case m.isRoot():
		return warn(problem+": steps with a user namespace do not run", remedy)
	}
	return fail(problem, remedy)
}

func (m *Machine) noUserNamespaces() (problem, remedy string) {
	if _, err := os.Stat(filepath.Join(m.Files, "/proc/self/ns/user")); err != nil {
		return "the kernel has none", "run a kernel with CONFIG_USER_NS"
	}
	if most, err := m.read("/proc/sys/user/max_user_namespaces"); err == nil && most == "0" {
		return "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=65536"
	}
	if m.isRoot() {
		return "", ""
	}
	if allowed, err := m.read("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && allowed == "0" {
		return "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"
	}
	if restricted, err := m.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); err == nil && restricted == "1" {
		return "AppArmor restricts them to programs with a profile", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or a profile for stepexec with the rule userns"
	}
	return "", ""
}

// subordinateIDs checks the ids that the users of an image get outside the container (subuid(5)).
func (m *Machine) subordinateIDs(context.Context) Result {
	if m.isRoot() {
		return ok("not needed by root")
	}
	if not := m.missing("newuidmap", "newgidmap"); len(not) > 0 {
		return fail(strings.Join(not, " and ")+" not found", "apt-get install uidmap")
	}
	var lacks []string
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if n := m.subordinate(file); n < 65536 {
			lacks = append(lacks, fmt.Sprintf("%d in %s", n, file))
		}
	}
	if len(lacks) > 0 {
		user := m.User
		if user == "" {
			user = strconv.Itoa(m.UID)
		}
		return fail("user "+user+" has "+strings.Join(lacks, " and ")+"; images need 65536", "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "+user+" (with a range that is free there)")
	}
	return ok("65536 or more users and groups")
}

// subordinate counts the ids that the file assigns to the user.
func (m *Machine) subordinate(file string) (n int) {
	text, err := m.read(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || fields[0] != m.User && fields[0] != strconv.Itoa(m.UID) {
			continue
		}
		if count, err := strconv.Atoi(fields[2]); err == nil {
			n += count
		}
	}
	return n
}
