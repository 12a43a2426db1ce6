package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// cniVersion is the CNI specification's that every plugin in use speaks; the
// oldest are 0.9 of Debian 11 and Ubuntu 22.04.
const cniVersion = "0.4.0"

// ErrNoNetworkPlugins says that what a private network is made with is not
// installed.
var ErrNoNetworkPlugins = errors.New("no CNI plugins")

// pluginDirs are where CNI plugins are looked for: $CNI_PATH, as the CNI
// specification says, then where distributions and their upstream put them.
func pluginDirs() []string {
	dirs := filepath.SplitList(os.Getenv("CNI_PATH"))
	return append(dirs, "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
}

// findPlugins makes sure that every plugin of a configuration is there, and
// iptables, by which they and stepexec set rules.
func findPlugins(list *libcni.NetworkConfigList, dirs []string) error {
	var missing []string
	for _, plugin := range append(pluginTypes(list), "portmap") {
		found := slices.ContainsFunc(dirs, func(dir string) bool {
			info, err := os.Stat(filepath.Join(dir, plugin))
			return err == nil && info.Mode().IsRegular()
		})
		if !found && !slices.Contains(missing, plugin) {
			missing = append(missing, plugin)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s not in %s (install them, e.g. apt-get install containernetworking-plugins, or set CNI_PATH)",
			ErrNoNetworkPlugins, strings.Join(missing, ", "), strings.Join(dirs, ", "))
	}
	for _, command := range []string{"iptables", "iptables-save", "iptables-restore"} {
		if _, err := exec.LookPath(command); err != nil {
			return fmt.Errorf("%w: %w (install it, e.g. apt-get install iptables)", ErrNoNetworkPlugins, err)
		}
	}
	return nil
}

// pluginTypes are the names of a configuration's plugins, with those that they
// call for addresses.
func pluginTypes(list *libcni.NetworkConfigList) []string {
	var types []string
	for _, plugin := range list.Plugins {
		types = append(types, plugin.Network.Type)
		if ipam := plugin.Network.IPAM.Type; ipam != "" {
			types = append(types, ipam)
		}
	}
	return types
}

// bridgeConfig is the configuration of a run's own network: a bridge that is
// the gateway, with the run as its only port, and masquerading. The firewall
// plugin accepts the run's traffic where docker or an administrator has made
// the host drop what it forwards. Addresses are fixed: the subnet is the run's
// alone, so there are no leases to keep or to lose.
func bridgeConfig(bridge string, subnet netip.Prefix, mtu int) (*libcni.NetworkConfigList, error) {
	gateway := subnet.Addr().Next()
	type object = map[string]any
	config, err := json.Marshal(object{
		"cniVersion": cniVersion,
		"name":       "stepexec",
		"plugins": []object{
			{
				"type": "bridge", "bridge": bridge, "isDefaultGateway": true, "ipMasq": true, "mtu": mtu,
				"ipam": object{"type": "static", "addresses": []object{{
					"address": netip.PrefixFrom(gateway.Next(), subnet.Bits()).String(),
					"gateway": gateway.String(),
				}}},
			},
			{"type": "firewall", "backend": "iptables"},
		},
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(config)
}

// readConfig reads a configuration list that the user has written.
func readConfig(path string) (*libcni.NetworkConfigList, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration: %w", err)
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration %s: %w (it must be a list, as in a .conflist file)", path, err)
	}
	if len(list.Plugins) == 0 {
		return nil, fmt.Errorf("read CNI configuration %s: it names no plugins", path)
	}
	return list, nil
}
