package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// privateNetwork looks for the programs that steps with network: private need.
// No other step does, so nothing here is a failure.
func (m *Machine) privateNetwork(context.Context) Result {
	if !m.isRoot() {
		if not := m.missing("pasta", "slirp4netns"); len(not) == 2 {
			return warn("neither pasta nor slirp4netns found: steps with network: private do not run", "apt-get install passt")
		}
		if _, err := os.Stat(filepath.Join(m.Files, "/dev/net/tun")); err != nil {
			return warn("no /dev/net/tun: steps with network: private do not run", "modprobe tun")
		}
		return ok("pasta or slirp4netns")
	}
	if not := m.missing("iptables", "iptables-save", "iptables-restore"); len(not) > 0 {
		return warn(strings.Join(not, ", ")+" not found: steps with network: private do not run", "apt-get install iptables")
	}
	dirs := append(filepath.SplitList(os.Getenv("CNI_PATH")), "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
	var not []string
	found := map[string]bool{}
	for _, plugin := range []string{"bridge", "static", "firewall", "portmap"} {
		dir := m.pluginDir(plugin, dirs)
		if dir == "" {
			not = append(not, plugin)
		}
		found[dir] = true
	}
	if len(not) > 0 {
		return warn("CNI plugins "+strings.Join(not, ", ")+" not in "+strings.Join(dirs, ", ")+": steps with network: private do not run", "apt-get install containernetworking-plugins")
	}
	var where []string
	for _, dir := range dirs {
		if found[dir] {
			where = append(where, dir)
		}
	}
	return ok("CNI plugins in " + strings.Join(where, ", "))
}

func (m *Machine) pluginDir(plugin string, dirs []string) string {
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(m.Files, dir, plugin)); err == nil && info.Mode().IsRegular() {
			return dir
		}
	}
	return ""
}
