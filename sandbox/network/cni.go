package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/container"
)

// ErrNoPlugins says that a plugin of a CNI configuration is not installed.
var ErrNoPlugins = errors.New("no CNI plugins")

// pluginTimeout bounds the plugins of one call. It is never cut short by a
// cancelled run: a killed plugin leaves halves.
const pluginTimeout = 2 * time.Minute

// CNI is the network of a run that brings a CNI configuration: one namespace,
// which all its containers share, attached by plugins. Its folder is in memory
// and holds all that is needed to take it away after the run has died:
//
//	attachment.json  what the namespace is, or is going to be, attached to
//	netns            the namespace, a bind mount
//	cache/           libcni's: results of the plugins
type CNI struct {
	run, dir, config string

	mu       sync.Mutex
	attached bool
}

// attachment says how a namespace is connected to the world.
type attachment struct {
	Config json.RawMessage // a CNI configuration list
}

// NewCNI returns a network of which nothing exists before Up. dir is its own,
// in memory, and made when missing; config is the path of a configuration list.
func NewCNI(run, dir, config string) *CNI { return &CNI{run: run, dir: dir, config: config} }

// Namespace is the file of the network's namespace.
func (n *CNI) Namespace() string { return filepath.Join(n.dir, "netns") }

func (n *CNI) record() string { return filepath.Join(n.dir, "attachment.json") }

// Up makes the namespace and attaches it, unless that has been done. An error
// leaves nothing behind.
func (n *CNI) Up(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.attached {
		return nil
	}
	return underLock(ctx, func(ctx context.Context) error {
		if err := n.attach(ctx); err != nil {
			return errors.Join(fmt.Errorf("private network: %w", err), n.takeAway(ctx))
		}
		n.attached = true
		return nil
	})
}

func (n *CNI) attach(ctx context.Context) error {
	list, err := n.plan()
	if err != nil {
		return err
	}
	if err := pinNamespace(n.Namespace(), sharedSettings); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	_, err = n.plugins().AddNetworkList(ctx, list, n.runtimeConf())
	return err
}

// sharedSettings set the calling thread's namespace up as a runtime does with
// one of a container's own.
func sharedSettings() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	failed := []error{setLoopbackUp(handle)}
	for name, value := range ContainerSysctls(maxGroup) {
		failed = append(failed, setSysctl(strings.ReplaceAll(name, ".", "/"), value))
	}
	return errors.Join(failed...)
}

// maxGroup is the highest id that ping_group_range takes.
const maxGroup = 1<<31 - 1

// ContainerSysctls are the settings of a container's network namespace, which
// give what would need privileges on the host's: ports below 1024, and ping for
// users whose group is at most lastGroup.
func ContainerSysctls(lastGroup int64) map[string]string {
	return map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           fmt.Sprintf("0 %d", min(lastGroup, maxGroup)),
	}
}

// plan reads the configuration and writes it down before anything is done.
func (n *CNI) plan() (*libcni.NetworkConfigList, error) {
	data, err := os.ReadFile(n.config)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration: %w", err)
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration %s: %w (it must be a list, as in a .conflist file)", n.config, err)
	}
	if len(list.Plugins) == 0 {
		return nil, fmt.Errorf("read CNI configuration %s: it names no plugins", n.config)
	}
	if err := findPlugins(list, pluginDirs()); err != nil {
		return nil, err
	}
	record, err := json.Marshal(attachment{Config: list.Bytes})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, err
	}
	// Whole or not at all: half a record could be neither undone nor passed over.
	if err := os.WriteFile(n.record()+".new", record, 0o600); err != nil {
		return nil, err
	}
	return list, os.Rename(n.record()+".new", n.record())
}

// pluginDirs are where CNI plugins are looked for: $CNI_PATH, as the CNI
// specification says, then where distributions and their upstream put them.
func pluginDirs() []string {
	dirs := filepath.SplitList(os.Getenv("CNI_PATH"))
	return append(dirs, "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
}

// findPlugins makes sure that every plugin of a configuration is there, with
// those that they call for addresses.
func findPlugins(list *libcni.NetworkConfigList, dirs []string) error {
	var missing []string
	for _, plugin := range list.Plugins {
		for _, name := range []string{plugin.Network.Type, plugin.Network.IPAM.Type} {
			found := name == "" || slices.ContainsFunc(dirs, func(dir string) bool {
				info, err := os.Stat(filepath.Join(dir, name))
				return err == nil && info.Mode().IsRegular()
			})
			if !found && !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s not in %s (install them, e.g. apt-get install containernetworking-plugins, or set CNI_PATH)",
			ErrNoPlugins, strings.Join(missing, ", "), strings.Join(dirs, ", "))
	}
	return nil
}

func (n *CNI) plugins() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(pluginDirs(), filepath.Join(n.dir, "cache"), &invoke.DefaultExec{RawExec: &invoke.RawExec{}})
}

// PluginContainer is what CNI plugins know a run as.
func PluginContainer(run string) string { return "stepexec-" + run }

func (n *CNI) runtimeConf() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: PluginContainer(n.run), NetNS: n.Namespace(), IfName: containerName}
}

// Publish is as that of an Endpoint: all containers are at the loopback of the
// one namespace.
func (n *CNI) Publish(ports []container.Port) (release func() error, err error) {
	return publish(n.dial, []string{"127.0.0.1", "::1"}, ports)
}

func (n *CNI) dial(ctx context.Context, protocol, to string) (conn net.Conn, err error) {
	namespace, err := os.Open(n.Namespace())
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	err = inside(namespace, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, protocol, to)
		return err
	})
	return conn, err
}

// Down takes the network away, if there is one. After an error IsRecorded says
// whether there is something left that can be tried again.
func (n *CNI) Down() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attached = false
	if !n.IsRecorded() {
		return nil
	}
	if err := underLock(context.Background(), n.takeAway); err != nil {
		return fmt.Errorf("take the private network away: %w", err)
	}
	return nil
}

// IsRecorded reports whether there may be a network to take away.
func (n *CNI) IsRecorded() bool {
	_, err := os.Stat(n.record())
	return err == nil
}

// takeAway has the plugins undo what they did. Only when the namespace cannot
// be unpinned does the record stay.
func (n *CNI) takeAway(ctx context.Context) error {
	data, err := os.ReadFile(n.record())
	if errors.Is(err, os.ErrNotExist) {
		return os.RemoveAll(n.dir) // nothing had been begun
	}
	if err != nil {
		return err
	}
	var a attachment
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("read %s: %w", n.record(), err)
	}
	detached := n.detach(ctx, a.Config)
	if err := unpinNamespace(n.Namespace()); err != nil {
		return errors.Join(detached, err)
	}
	return errors.Join(detached, os.RemoveAll(n.dir))
}

func (n *CNI) detach(ctx context.Context, config []byte) error {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	list, err := libcni.NetworkConfFromBytes(config)
	if err != nil {
		return err
	}
	return n.plugins().DelNetworkList(ctx, list, n.runtimeConf())
}
