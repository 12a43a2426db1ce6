package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Builds reports which ways of building images in steps work on this machine: the recipes of
// docs/building-images.md, in the same order. results is the result of Examine. No Result is a
// Fail, because steps run without builds.
func (m *Machine) Builds(results []Result) []Result {
	found := map[string]Result{}
	for _, r := range results {
		found[r.Name] = r
	}
	recipes := []struct {
		name, what string
		without    func() (problem, remedy string) // "": it can be done
	}{
		{"build: umoci", "umoci and skopeo, without any rights", m.nothing},
		{"build: buildah", "buildah with isolation chroot: cap_add: [SYS_ADMIN]", m.nothing},
		{"build: buildah, namespace", "and uidmap, gidmap: its root is nobody of this machine", func() (string, string) {
			if !m.isRoot() {
				return "", ""
			}
			return m.noUserNamespaces()
		}},
		{"build: buildah, user", "and allow_new_privileges: as a user of the image", m.asUser},
		{"build: podman", "podman: cap_add: [SYS_ADMIN], seccomp: unconfined", m.nothing},
		{"build: overlay", "an overlay on a tmpfs, in place of the driver vfs", m.noOverlay},
		{"build: fuse-overlayfs", "fuse-overlayfs: devices: [/dev/fuse]", m.noFuse},
		{"build: docker", "docker's daemon as a service: privileged", func() (string, string) {
			if !m.isRoot() {
				return "docker's daemon needs root", "run stepexec as root"
			}
			if network := found["private network"]; network.State != OK {
				return "its service and its clients have no private network: " + network.Detail, network.Remedy
			}
			return "", ""
		}},
	}
	var all []Result
	for _, recipe := range recipes {
		result := ok(recipe.what)
		if problem, remedy := recipe.without(); problem != "" {
			result = warn(fmt.Sprintf("%s: not here: %s", recipe.what, problem), remedy)
		} else if !Works(results) {
			result = warn(recipe.what+": not here: no steps run", "")
		}
		result.Name = recipe.name
		all = append(all, result)
	}
	return all
}

func (m *Machine) nothing() (problem, remedy string) { return "", "" }

// asUser checks the build as a normal user in the image: newuidmap gives that user ids that only
// the steps of root have.
func (m *Machine) asUser() (problem, remedy string) {
	if !m.isRoot() {
		return "a step without root has no ids to give away", "run stepexec as root, or buildah as the image's root"
	}
	return m.noUserNamespaces()
}

func (m *Machine) noOverlay() (problem, remedy string) {
	systems, err := m.read("/proc/filesystems")
	if err != nil {
		return err.Error(), ""
	}
	if !slices.Contains(strings.Fields(systems), "overlay") {
		return "the kernel has no overlay", "modprobe overlay"
	}
	return "", ""
}

func (m *Machine) noFuse() (problem, remedy string) {
	if !m.isRoot() {
		return "/dev/fuse belongs to this machine's root", ""
	}
	if _, err := os.Stat(filepath.Join(m.Files, "/dev/fuse")); err != nil {
		return err.Error(), "modprobe fuse"
	}
	return "", ""
}
