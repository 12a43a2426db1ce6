package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// addDevices gives a step its device nodes and lets its cgroup use them. A privileged step has the
// host's devices, plus its own at other paths.
func addDevices(spec *specs.Spec, step *Step) error {
	s := &step.Security
	if s.Privileged {
		all, err := hostDevices()
		if err != nil {
			return err
		}
		spec.Linux.Devices = all
	}
	for _, device := range s.Devices {
		nodes, err := deviceNodes(step, device)
		if err != nil {
			return fmt.Errorf("device %s: %w", device.Source, err)
		}
		for _, node := range nodes {
			spec.Linux.Devices = slices.DeleteFunc(spec.Linux.Devices, func(d specs.LinuxDevice) bool { return d.Path == node.Path })
			spec.Linux.Devices = append(spec.Linux.Devices, node)
			spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
				Allow: true, Type: node.Type, Major: &node.Major, Minor: &node.Minor, Access: permissions(device),
			})
		}
	}
	return nil
}

// deviceNodes returns the nodes that a device stands for: one node, or all nodes below a directory.
// The source itself may be a link, as udev creates them. Links inside a directory are skipped,
// because the step would get the link's target at the time of use rather than the node that was
// checked.
func deviceNodes(step *Step, device Device) ([]specs.LinuxDevice, error) {
	destination := device.Destination
	if destination == "" {
		destination = device.Source
	}
	if err := checkDevice(device, destination); err != nil {
		return nil, err
	}
	source, err := filepath.EvalSymlinks(device.Source)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no such device on the host")
	}
	if err != nil {
		return nil, err
	}
	// A step may create the node of any device of the host there, although it may not use it.
	if root := step.at(source).Root(); root != "" && root != "/" && !strings.HasPrefix(root+"/", "/dev/") {
		return nil, fmt.Errorf("refused: %s is in %s, where steps can make device nodes", source, root)
	}
	var nodes []specs.LinuxDevice
	err = filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeDevice == 0 {
			return err
		}
		node, err := deviceAt(path)
		node.Path = filepath.Join(destination, strings.TrimPrefix(path, source))
		nodes = append(nodes, node)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, errors.New("neither a device nor a directory that holds one")
	}
	return nodes, nil
}

func checkDevice(device Device, destination string) error {
	switch clean := filepath.Clean(destination); {
	case !filepath.IsAbs(device.Source):
		return errors.New("the path on the host must be absolute, or the name of a CDI device, vendor.com/class=name")
	case !filepath.IsAbs(destination) || clean == "/" || isKernelPath(clean):
		return fmt.Errorf("it cannot be at %s in the container", destination)
	case strings.Trim(device.Permissions, "rwm") != "":
		return fmt.Errorf("permissions %q: must be of r (read), w (write) and m (mknod)", device.Permissions)
	}
	return nil
}

// isKernelPath reports whether a clean path is in one of the kernel's own file systems.
func isKernelPath(clean string) bool {
	for _, dir := range []string{"/proc", "/sys"} {
		if clean == dir || strings.HasPrefix(clean, dir+"/") {
			return true
		}
	}
	return false
}

func permissions(device Device) string {
	if device.Permissions == "" {
		return "rwm"
	}
	return device.Permissions
}

// hostDevices returns the device nodes of the host's /dev for a privileged step, except those that
// every container gets anew (terminals, console).
func hostDevices() ([]specs.LinuxDevice, error) {
	var devices []specs.LinuxDevice
	err := filepath.WalkDir("/dev", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if path == "/dev/pts" || path == "/dev/shm" || path == "/dev/mqueue" {
				return filepath.SkipDir
			}
			return nil
		case entry.Type()&fs.ModeDevice == 0 || path == "/dev/console" || path == "/dev/ptmx" || path == "/dev/tty":
			return nil
		}
		device, err := deviceAt(path)
		if err != nil {
			return err
		}
		devices = append(devices, device)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the host's devices: %w", err)
	}
	return devices, nil
}

func deviceAt(path string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return specs.LinuxDevice{}, fmt.Errorf("stat %s: %w", path, err)
	}
	kind := "c"
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	mode := fs.FileMode(st.Mode & 0o777)
	return specs.LinuxDevice{
		Path: path, Type: kind, FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
	}, nil
}
