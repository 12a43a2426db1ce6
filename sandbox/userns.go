package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

// errMapped says that a user without root cannot create a further user namespace.
var errMapped = errors.New("uidmap and gidmap: not possible without root: the whole run is in a user namespace already, and there the layers of images cannot be given to other ids (leave them out, or run stepexec as root)")

// hasUserNamespace reports whether a step has its own user namespace.
func hasUserNamespace(s *Security) bool { return len(s.UIDMap) > 0 || len(s.GIDMap) > 0 }

// checkIDs refuses ids that a step cannot have in its user namespace, or in that of a user without
// root.
func (h *Host) checkIDs(step *Step) error {
	s := &step.Security
	if !hasUserNamespace(s) {
		return checkOwner(step.WorkspaceOwner)
	}
	if h.rootless {
		return errMapped
	}
	for key, maps := range map[string][]IDMap{"uidmap": s.UIDMap, "gidmap": s.GIDMap} {
		if _, ok := hostID(maps, 0); !ok {
			return fmt.Errorf("%s: has no id for the container's root, 0, which starts it (such as 0:100000:65536)", key)
		}
	}
	return checkOwner(step.WorkspaceOwner)
}

// checkOwner refuses to give files of the workspace to a user of the host whose id does not exist
// in the namespace of a user without root.
func checkOwner(owner *Owner) error {
	if self, ok := rootless.Inside(); ok && owner != nil && int(owner.UID) != self {
		return fmt.Errorf("workspace_owner %d: without root what a step's root makes belongs to you, user %d, and can be given to nobody else (leave it out)", owner.UID, self)
	}
	return nil
}

// hostID returns the id on the host of an id in a container. Without maps they are the same.
func hostID(maps []IDMap, id uint32) (uint32, bool) {
	if len(maps) == 0 {
		return id, true
	}
	for _, m := range maps {
		if id >= m.Container && id-m.Container < m.Size {
			return m.Host + id - m.Container, true
		}
	}
	return 0, false
}

// hostOwner returns the ids on the host of a step's user and group.
func hostOwner(s *Security, uid, gid int) (hostUID, hostGID int, err error) {
	mappedUID, hasUID := hostID(s.UIDMap, uint32(uid))
	mappedGID, hasGID := hostID(s.GIDMap, uint32(gid))
	if !hasUID || !hasGID {
		return 0, 0, fmt.Errorf("user %d or group %d is not in uidmap and gidmap", uid, gid)
	}
	return int(mappedUID), int(mappedGID), nil
}

// mapUser puts a step's user namespace into its spec, and the changes needed in any user namespace,
// be it the step's or the one of a user without root, in which all of this runs.
func (h *Host) mapUser(spec *specs.Spec, step *Step) {
	own := hasUserNamespace(&step.Security)
	if own {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		spec.Linux.UIDMappings = specMappings(step.Security.UIDMap)
		spec.Linux.GIDMappings = specMappings(step.Security.GIDMap)
	}
	if !own && !h.rootless {
		return
	}
	// Only the owner of the network namespace may mount a sysfs that shows it.
	if !h.hasOwnNetwork(step) {
		bindSysfs(spec.Mounts)
	}
	keepLockedFlags(spec.Mounts)
	const terminals = 5 // the customary group of terminals
	if _, ok := hostID(step.Security.GIDMap, terminals); !ok || h.rootless && !hasGroup(terminals) {
		dropOption(spec.Mounts, "devpts", fmt.Sprintf("gid=%d", terminals))
	}
}

func specMappings(maps []IDMap) []specs.LinuxIDMapping {
	var all []specs.LinuxIDMapping
	for _, m := range maps {
		all = append(all, specs.LinuxIDMapping{ContainerID: m.Container, HostID: m.Host, Size: m.Size})
	}
	return all
}

// bindSysfs mounts the host's /sys in place of a new one. All of it is read-only, including file
// systems mounted in it.
func bindSysfs(mounts []specs.Mount) {
	for i, m := range mounts {
		if m.Type != "sysfs" {
			continue
		}
		options := []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}
		if slices.Contains(m.Options, "ro") {
			options = append(options, "ro", "rro")
		}
		mounts[i] = specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: options}
	}
}

// keepLockedFlags adds to bind mounts the flags of their sources: in a user namespace these cannot
// be removed, and runc before 1.2 does not consider that.
func keepLockedFlags(mounts []specs.Mount) {
	for i, m := range mounts {
		var fs unix.Statfs_t
		if m.Type != "bind" || unix.Statfs(m.Source, &fs) != nil { // a missing source is created later, or reported as an error then
			continue
		}
		for _, flag := range []struct {
			bit  int64
			name string
		}{
			{unix.ST_RDONLY, "ro"}, {unix.ST_NOSUID, "nosuid"}, {unix.ST_NODEV, "nodev"}, {unix.ST_NOEXEC, "noexec"},
			{unix.ST_NOATIME, "noatime"}, {unix.ST_NODIRATIME, "nodiratime"},
		} {
			if int64(fs.Flags)&flag.bit != 0 && !slices.Contains(mounts[i].Options, flag.name) {
				mounts[i].Options = append(slices.Clone(mounts[i].Options), flag.name)
			}
		}
	}
}

func dropOption(mounts []specs.Mount, kind, option string) {
	for i, m := range mounts {
		if m.Type == kind {
			mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == option })
		}
	}
}

// hasGroup reports whether this process's user namespace has a group.
func hasGroup(gid uint32) bool {
	text, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var m IDMap
		if _, err := fmt.Sscan(line, &m.Container, &m.Host, &m.Size); err == nil {
			if _, ok := hostID([]IDMap{m}, gid); ok {
				return true
			}
		}
	}
	return false
}

// mountIDMapped mounts a directory at another place with the ids of a user namespace; see
// mount_setattr(2).
func mountIDMapped(dir, place string, namespace *os.File) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Propagation: unix.MS_PRIVATE, Userns_fd: uint64(namespace.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("mount layer %s with the ids of uidmap and gidmap: %w (this needs Linux 5.19, and a file system that can be mounted so, such as ext4, xfs, btrfs or erofs, below --root)", dir, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount layer at %s: %w", place, err)
	}
	return nil
}

// mappedRoot is where the root file systems of steps with user namespaces are mounted: RUN/STEP/fs.
// Their runtimes must reach them as the container's root, who may not enter the run's own
// directory. RUN/STEP admits only that user's group: an image has setuid programs, which nobody
// else may run on the host.
const mappedRoot = "/run/stepexec/rootfs"

// rootfs returns the mount point of a step's root file system; dir is the step's directory.
func (h *Host) rootfs(step *Step, dir string) (path string, remove func() error, err error) {
	if !hasUserNamespace(&step.Security) {
		return filepath.Join(dir, "rootfs"), func() error { return nil }, nil
	}
	run := filepath.Join(mappedRoot, h.id)
	if err := os.MkdirAll(run, 0o711); err != nil {
		return "", nil, err
	}
	// A umask may have narrowed their modes.
	for _, parent := range []string{run, mappedRoot, filepath.Dir(mappedRoot)} {
		if err := os.Chmod(parent, 0o711); err != nil { //nolint:gosec // see mappedRoot
			return "", nil, err
		}
	}
	place := filepath.Join(run, step.ID)
	_, group, err := hostOwner(&step.Security, 0, 0)
	if err != nil {
		return "", nil, err
	}
	err = errors.Join(os.Mkdir(place, 0o700), os.Chown(place, 0, group), os.Chmod(place, 0o710)) //nolint:gosec // see mappedRoot
	remove = func() error {
		return errors.Join(os.Remove(filepath.Join(place, "fs")), os.Remove(place))
	}
	return filepath.Join(place, "fs"), remove, err
}

// giveStreams lets a step's user open its standard streams by name, such as /dev/stdout: otherwise
// only root can open pipes of root.
func giveStreams(step *Step, uid, gid int) error {
	for _, stream := range []*os.File{step.Stdin, step.Stdout, step.Stderr} {
		if stream == nil {
			continue
		}
		info, err := stream.Stat()
		if err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			err = stream.Chown(uid, gid)
		}
		if err != nil {
			return fmt.Errorf("give the step its streams: %w", err)
		}
	}
	return nil
}

// newUserNamespace creates a user namespace with the maps and opens it. That takes a process, which
// is stopped before it does anything, and killed.
func newUserNamespace(s *Security) (*os.File, error) {
	runtime.LockOSThread() // a tracer is a thread, not a process
	defer runtime.UnlockOSThread()
	child := exec.Command("/proc/self/exe")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, Ptrace: true, Pdeathsig: unix.SIGKILL,
		UidMappings: sysMappings(s.UIDMap), GidMappings: sysMappings(s.GIDMap), GidMappingsEnableSetgroups: true,
	}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace with uidmap and gidmap: %w (are they free of overlaps, and is sysctl user.max_user_namespaces above 0?)", err)
	}
	namespace, err := os.Open(filepath.Join("/proc", fmt.Sprint(child.Process.Pid), "ns/user"))
	killed := child.Process.Kill()
	_ = child.Wait() // always reports that it was killed
	if err := errors.Join(err, killed); err != nil {
		return nil, fmt.Errorf("open the user namespace: %w", err)
	}
	return namespace, nil
}

func sysMappings(maps []IDMap) []syscall.SysProcIDMap {
	var all []syscall.SysProcIDMap
	for _, m := range maps {
		all = append(all, syscall.SysProcIDMap{ContainerID: int(m.Container), HostID: int(m.Host), Size: int(m.Size)})
	}
	return all
}
