package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaceFlags are the types of namespaces that a step can join, with their numbers in clone(2)
// and NS_GET_NSTYPE of ioctl_ns(2).
func namespaceFlags() map[specs.LinuxNamespaceType]int {
	return map[specs.LinuxNamespaceType]int{
		specs.NetworkNamespace: unix.CLONE_NEWNET,
		specs.PIDNamespace:     unix.CLONE_NEWPID,
		specs.IPCNamespace:     unix.CLONE_NEWIPC,
		specs.UTSNamespace:     unix.CLONE_NEWUTS,
		specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
	}
}

// namespaceType accepts the OCI specification's names and the kernel's.
func namespaceType(name string) specs.LinuxNamespaceType {
	switch name {
	case "net":
		return specs.NetworkNamespace
	case "mnt":
		return specs.MountNamespace
	}
	return specs.LinuxNamespaceType(name)
}

// joined returns the path of the namespace of a type that a step asks to join, or "" for none.
func joined(step *Step, of specs.LinuxNamespaceType) string {
	for name, path := range step.Advanced.Namespaces {
		if namespaceType(name) == of {
			return path
		}
	}
	return ""
}

// namespaces returns the step's new namespaces and those that it asks to join. On cgroup v2 a
// cgroup namespace hides the host's hierarchy; on v1 the runtime shows only the step's part.
func (h *Host) namespaces(step *Step) ([]specs.LinuxNamespace, error) {
	if err := checkNamespaces(step); err != nil {
		return nil, err
	}
	if path := joined(step, specs.PIDNamespace); path != "" && h.rootless && len(h.delegated) == 0 {
		return nil, fmt.Errorf("join pid namespace %s: not possible without root and without a cgroup of the step's own, by which its processes could be told from the others and ended", path)
	}
	all := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
		{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
	}
	if h.cgroup2 {
		all = append(all, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	switch step.Network {
	case NetworkNone:
		all = append(all, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	case NetworkPrivate:
		path := "" // a new one: see connect
		if h.networks.shared != nil {
			path = h.networks.shared.Namespace()
		}
		all = append(all, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path})
	}
	for _, of := range slices.Sorted(maps.Keys(namespaceFlags())) {
		path := joined(step, of)
		if path == "" {
			continue
		}
		all = slices.DeleteFunc(all, func(n specs.LinuxNamespace) bool { return n.Type == of })
		all = append(all, specs.LinuxNamespace{Type: of, Path: path})
	}
	return all, nil
}

// checkNamespaces refuses namespaces that cannot be joined, and settings that would change somebody
// else's namespace.
func checkNamespaces(step *Step) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, name := range slices.Sorted(maps.Keys(step.Advanced.Namespaces)) {
		path, of := step.Advanced.Namespaces[name], namespaceType(name)
		if err := checkNamespace(of, path); err != nil {
			return fmt.Errorf("join %s namespace %s: %w", name, path, err)
		}
		if seen[of] {
			return fmt.Errorf("join %s namespace %s: the step joins two of that type", name, path)
		}
		seen[of] = true
	}
	conflict := func(of specs.LinuxNamespaceType, setting string) error {
		return fmt.Errorf("join %s namespace %s: the step also sets %s, which is for a namespace of its own", of, joined(step, of), setting)
	}
	switch {
	case seen[specs.NetworkNamespace] && (step.Network == NetworkNone || step.Network == NetworkPrivate):
		return conflict(specs.NetworkNamespace, "network: "+step.Network)
	case seen[specs.UTSNamespace] && step.Names.Hostname != "":
		return conflict(specs.UTSNamespace, "hostname")
	}
	return nil
}

// checkNamespace checks that path is a namespace of a type that can be joined. The path may be any
// file, so opening it must not block, as a FIFO would.
func checkNamespace(of specs.LinuxNamespaceType, path string) error {
	flag, ok := namespaceFlags()[of]
	switch {
	case of == specs.MountNamespace:
		return errors.New("not possible: the step's root file system is mounted in a mount namespace of its own, and a switch of the root in another would be one for all processes there (use mounts for what the step shall see)")
	case of == specs.UserNamespace:
		return errors.New("not possible: the files of the step's image belong to ids of the host, which another user namespace does not have (use uidmap and gidmap for one of the step's own)")
	case !ok:
		return errors.New("unknown type (network, pid, ipc, uts or cgroup)")
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return errors.New("it is no namespace file (such as /proc/PID/ns/net)")
	}
	got, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return fmt.Errorf("ask for its type: %w", err)
	}
	if got != flag {
		return errors.New("it is a namespace of another type")
	}
	return nil
}

// killJoined kills the remaining processes of a step that has joined a process namespace. Otherwise
// the kernel kills them when a namespace's first process ends, and some runtimes rely on that (runc
// before 1.2). New processes may appear meanwhile, so it repeats until there are none.
func (s *Sandbox) killJoined() error {
	if joined(s.step, specs.PIDNamespace) == "" || s.init == nil { // nil: it was not created
		return nil
	}
	for {
		others, all, err := s.signalAll(unix.SIGKILL)
		for _, fd := range others {
			awaitEnd(fd)
			unix.Close(fd)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || all && len(others) == 0 {
			return err
		}
	}
}
