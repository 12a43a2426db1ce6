package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	types "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"
)

// bridgePrefix begins the names of all runs' bridges; with a run's ID behind
// it a name has the 15 bytes that the kernel allows.
const bridgePrefix = "step-"

// networkLock is held by whoever changes what runs have in common on this
// host, whatever their state root: subnets and the plugins' shared rules.
const networkLock = "/run/stepexec/network.lock"

// privateNetwork is the network namespace of a run. Its folder is in memory
// and holds all that is needed to take it away after the run has died:
//
//	private/+network/attachment.json  what the namespace is, or is going to be, attached to
//	private/+network/netns            the namespace, a bind mount
//	private/+network/cache/           libcni's: results of the plugins
//
// No step's folder has a plus sign in its name.
type privateNetwork struct {
	run    string // the run's ID
	dir    string
	config string // Options.NetworkConfig

	mu     sync.Mutex
	result *types.Result // of the plugins; nil: not attached
}

// attachment says how a namespace is connected to the world.
type attachment struct {
	Config json.RawMessage // a CNI configuration list
	Subnet netip.Prefix    // of the run's own bridge; zero with a configuration of the user's
}

func newPrivateNetwork(runDir, config string) *privateNetwork {
	return &privateNetwork{run: filepath.Base(runDir), dir: filepath.Join(runDir, "private", "+network"), config: config}
}

func (n *privateNetwork) netns() string { return filepath.Join(n.dir, "netns") }

// up makes the namespace and attaches it, unless that has been done. An error
// leaves nothing behind.
func (n *privateNetwork) up(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.result != nil {
		return nil
	}
	return underLock(ctx, func(ctx context.Context) error {
		result, err := n.make(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("private network: %w", err), n.takeAway(ctx))
		}
		n.result = result
		return nil
	})
}

func (n *privateNetwork) make(ctx context.Context) (*types.Result, error) {
	list, err := n.plan()
	if err != nil {
		return nil, err
	}
	if err := newNetns(n.netns()); err != nil {
		return nil, err
	}
	return n.attach(ctx, list)
}

// plan decides what the namespace is attached to and writes it down before
// anything is done.
func (n *privateNetwork) plan() (*libcni.NetworkConfigList, error) {
	list, subnet, err := n.configuration()
	if err != nil {
		return nil, err
	}
	if err := findPlugins(list, pluginDirs()); err != nil {
		return nil, err
	}
	record, err := json.Marshal(attachment{Config: list.Bytes, Subnet: subnet})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return nil, err
	}
	// Whole or not at all: half a record could be neither undone nor passed over.
	if err := os.WriteFile(n.record()+".new", record, 0o600); err != nil {
		return nil, err
	}
	return list, os.Rename(n.record()+".new", n.record())
}

func (n *privateNetwork) record() string { return filepath.Join(n.dir, "attachment.json") }

func (n *privateNetwork) configuration() (*libcni.NetworkConfigList, netip.Prefix, error) {
	if n.config != "" {
		list, err := readConfig(n.config)
		return list, netip.Prefix{}, err
	}
	routes, err := hostRoutes()
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	subnet, err := freeSubnet(routes)
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	list, err := bridgeConfig(bridgePrefix+n.run, subnet, outgoingMTU(routes))
	return list, subnet, err
}

// attach connects the namespace by CNI plugins.
func (n *privateNetwork) attach(ctx context.Context, list *libcni.NetworkConfigList) (*types.Result, error) {
	raw, err := n.cni().AddNetworkList(ctx, list, n.runtimeConf())
	if err != nil {
		return nil, err
	}
	result, err := types.NewResultFromResult(raw)
	if err != nil {
		return nil, fmt.Errorf("result of the CNI plugins: %w", err)
	}
	for _, link := range result.Interfaces {
		if link.Sandbox == "" { // the host's side: the bridge, or without one the veth
			return result, guard(ctx, link.Name, n.run)
		}
	}
	return result, nil
}

func (n *privateNetwork) cni() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(pluginDirs(), filepath.Join(n.dir, "cache"), &invoke.DefaultExec{RawExec: &invoke.RawExec{}})
}

// networkContainer is what CNI plugins know a run as.
func networkContainer(run string) string { return "stepexec-" + run }

func (n *privateNetwork) runtimeConf() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: networkContainer(n.run), NetNS: n.netns(), IfName: "eth0"}
}

// down takes the network away, if there is one. After an error isRecorded says
// whether there is something left that can be tried again.
func (n *privateNetwork) down() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.isRecorded() {
		return nil
	}
	n.result = nil
	if err := underLock(context.Background(), n.takeAway); err != nil {
		return fmt.Errorf("take the private network away: %w", err)
	}
	return nil
}

func (n *privateNetwork) isRecorded() bool {
	_, err := os.Stat(n.record())
	return err == nil
}

// takeAway has the plugins undo what they did and then removes, whether they
// could or not, what is left: rules, interfaces, the namespace. Only when that
// fails does the record stay.
func (n *privateNetwork) takeAway(ctx context.Context) error {
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
	swept := errors.Join(sweepRules(ctx, n.run, a.Subnet), deleteBridge(bridgePrefix+n.run), unpinNetns(n.netns()))
	if swept != nil {
		return errors.Join(detached, swept)
	}
	return errors.Join(detached, os.RemoveAll(n.dir))
}

func (n *privateNetwork) detach(ctx context.Context, config []byte) error {
	list, err := libcni.NetworkConfFromBytes(config)
	if err != nil {
		return err
	}
	return n.cni().DelNetworkList(ctx, list, n.runtimeConf())
}

// deleteBridge deletes a bridge and the interfaces that are its ports.
func deleteBridge(name string) error {
	ports, err := os.ReadDir(filepath.Join("/sys/class/net", name, "brif"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var failed []error
	for _, port := range ports {
		failed = append(failed, deleteLink(port.Name()))
	}
	return errors.Join(append(failed, deleteLink(name))...)
}

// underLock runs f with networkLock. As the runtime's calls, f is not cut short
// by a cancelled run: a killed plugin leaves halves.
func underLock(ctx context.Context, f func(context.Context) error) error {
	if err := os.MkdirAll(filepath.Dir(networkLock), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(networkLock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", networkLock, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runtimeTimeout)
	defer cancel()
	return f(ctx)
}
