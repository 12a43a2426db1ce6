package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/sandbox/network"
)

// networks are the networks that a run creates for its steps: one bridge with an address for every
// container or, where the machine's administrator has written a CNI configuration, one namespace
// that all containers share.
type networks struct {
	bridged *network.Bridged
	shared  *network.CNI // nil: bridged is used
	refused error        // reason why there is neither; nil: there is one
}

func newNetworks(runDir, config string, isRootless bool, warn func(string)) (*networks, error) {
	run, dir := filepath.Base(runDir), filepath.Join(runDir, "private", "+network") // step folders never contain a plus sign
	if config != "" {
		if isRootless {
			return &networks{refused: fmt.Errorf("private network: the CNI configuration %s needs root (leave it out: pasta or slirp4netns makes the network)", config)}, nil
		}
		return &networks{shared: network.NewCNI(run, dir, config)}, nil
	}
	servers, err := network.HostServers()
	if err != nil {
		return nil, fmt.Errorf("private network: list the host's name servers: %w", err)
	}
	o := network.Options{Run: run, Dir: dir, Servers: servers, Warn: warn}
	if isRootless {
		o.Connect = network.ConnectByProgram(dir)
	}
	return &networks{bridged: network.New(o)}, nil
}

// down removes the run's network, if there is one. left reports whether something remains that
// needs the run's directory for another attempt.
func (n *networks) down() (left bool, err error) {
	if n.shared != nil {
		err = n.shared.Down()
		return n.shared.IsRecorded(), err
	}
	if n.bridged == nil {
		return false, nil
	}
	return false, n.bridged.Down()
}

// wait returns once all background work for the networks has ended.
func (n *networks) wait() error {
	if n.bridged == nil {
		return nil
	}
	return n.bridged.Wait()
}

// sweepNetworks removes whatever the network of a dead run has left. The kind of network need not
// be known: clearing the wrong kind finds nothing.
func sweepNetworks(runDir string) (left bool, err error) {
	run, dir := filepath.Base(runDir), filepath.Join(runDir, "private", "+network")
	shared := network.NewCNI(run, dir, "")
	err = shared.Down()
	if shared.IsRecorded() {
		return true, err
	}
	if rootless.InNamespace() {
		return false, err // its namespaces have ended with it, and nothing was on the host
	}
	return false, errors.Join(err, network.Sweep(run))
}

// MakeNetwork makes the network of private steps before the first one needs it. It need not be
// called, and its error need not be shown: every step that cannot have the network reports it.
func (h *Host) MakeNetwork(ctx context.Context) error {
	if h.networks.bridged == nil {
		return nil
	}
	return h.networks.bridged.Up(ctx)
}

// joinNetwork gives a step its place on the run's network, which the first call creates, and
// publishes its ports there until release is called. Steps on other networks have nothing to join.
func (h *Host) joinNetwork(ctx context.Context, step *Step) (_ *network.Endpoint, release func() error, err error) {
	nothing := func() error { return nil }
	if err := errors.Join(checkNetwork(step), checkNames(step)); err != nil {
		return nil, nil, err
	}
	switch {
	case step.Network != NetworkPrivate || step.Advanced.Spec != nil:
		return nil, nothing, nil
	case h.networks.refused != nil:
		return nil, nil, h.networks.refused
	case h.networks.shared != nil:
		if err := h.networks.shared.Up(ctx); err != nil || len(step.Names.Ports) == 0 {
			return nil, nothing, err
		}
		release, err := h.networks.shared.Publish(step.Names.Ports)
		return nil, release, err
	}
	if err := h.networks.bridged.Up(ctx); err != nil {
		return nil, nil, err
	}
	endpoint, err := h.networks.bridged.Join(network.Member{
		Names: step.Aliases, Servers: step.Names.DNS, Gateway: wantsHost(step), Egress: step.Egress, Refused: step.Refused,
	})
	if err != nil {
		return nil, nil, err
	}
	if len(step.Names.Ports) == 0 {
		return endpoint, endpoint.Leave, nil
	}
	unpublish, err := endpoint.Publish(step.Names.Ports)
	if err != nil {
		return nil, nil, errors.Join(err, endpoint.Leave())
	}
	return endpoint, func() error { return errors.Join(unpublish(), endpoint.Leave()) }, nil
}

// connect begins to give the container its place on the run's network, in a namespace of stepexec's
// own, which the runtime then puts it in. It returns a function that waits until that is done, to be
// called once the container exists. Otherwise the function connects the container: one with a user
// namespace, which must own its network namespace, so that the runtime makes both; and one that has
// settings of its own for its network, which the runtime makes before there is a link that takes them
// over.
func (s *Sandbox) connect(spec *specs.Spec) (connected func() error, err error) {
	if s.endpoint == nil {
		return func() error { return nil }, nil
	}
	own := ownNetwork(spec)
	if own == nil || hasLinkSettings(spec) {
		return s.plug, nil
	}
	namespace, err := network.NewNamespace()
	if err != nil {
		return nil, err
	}
	own.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace.Fd())
	var plugging crash.Group
	plugging.Go(func() { plugging.Note(s.endpoint.Plug(namespace)) })
	connected = sync.OnceValue(func() error { return errors.Join(plugging.Wait(), namespace.Close()) })
	s.release = append(s.release, func() error {
		_ = connected() // if the container could not be created, nobody has waited
		return nil
	})
	return connected, nil
}

// ownNetwork returns the new network namespace of a spec, or nil if there is none, or if a user
// namespace has to own it.
func ownNetwork(spec *specs.Spec) (own *specs.LinuxNamespace) {
	if spec.Linux == nil {
		return nil
	}
	for i, n := range spec.Linux.Namespaces {
		switch {
		case n.Type == specs.UserNamespace:
			return nil
		case n.Type == specs.NetworkNamespace && n.Path == "":
			own = &spec.Linux.Namespaces[i]
		}
	}
	return own
}

// hasLinkSettings reports whether a spec has settings of its network beside those of every container.
func hasLinkSettings(spec *specs.Spec) bool {
	ofAll := network.ContainerSysctls(0)
	for name := range spec.Linux.Sysctl {
		if _, isOfAll := ofAll[name]; !isOfAll && strings.HasPrefix(strings.ReplaceAll(name, "/", "."), "net.") {
			return true
		}
	}
	return false
}

// plug connects a newly created container in the namespace that the runtime has made for it.
func (s *Sandbox) plug() error {
	// The init process is a child that has not been waited for, so its pid cannot have been reused.
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", s.init.Pid))
	if err != nil {
		return fmt.Errorf("open the container's network namespace: %w", err)
	}
	defer namespace.Close()
	return s.endpoint.Plug(namespace)
}

// Find returns the addresses at which the step reaches a peer.
func (s *Sandbox) Find(peer *Peer) ([]netip.Addr, error) {
	if slices.Equal(peer.Names, s.step.Aliases) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	addresses, err := s.host.addressesOf(s.step, peer, s.endpoint)
	if err == nil && len(addresses) == 0 {
		err = fmt.Errorf("%s is on network %s, which this step's does not reach", peer.Names[0], cmp.Or(peer.Network, NetworkHost))
	}
	return addresses, err
}

// Connections returns the connections that a step with egress rules has had: to the world, to the
// host and to other containers of the run. It may be called until Remove.
func (s *Sandbox) Connections() ([]network.Connection, error) {
	if s.endpoint == nil {
		return nil, nil
	}
	return s.endpoint.Connections()
}

// wantsHost reports whether a step asks for access to the host.
func wantsHost(step *Step) bool {
	for _, host := range step.Names.ExtraHosts {
		if host.Address == container.HostGateway {
			return true
		}
	}
	return false
}

func checkNetwork(step *Step) error {
	switch step.Network {
	case "", NetworkHost, NetworkNone, NetworkPrivate:
	default:
		return fmt.Errorf("network %q: must be %s, %s or %s", step.Network, NetworkHost, NetworkNone, NetworkPrivate)
	}
	if len(step.Names.Ports) > 0 && step.Network != NetworkPrivate {
		return fmt.Errorf("publish port %s: only ports of a private network can be published (set network: private; on the host's network a step's ports are the host's)", network.PortName(step.Names.Ports[0]))
	}
	if step.Egress.Mode != "" && step.Network != NetworkPrivate && step.Network != NetworkNone {
		return errors.New("egress rules need a private network (set network: private; what a step does on the host's network cannot be told from what the host does)")
	}
	return nil
}

// hasOwnNetwork reports whether a step has its own network namespace.
func (h *Host) hasOwnNetwork(step *Step) bool {
	own := step.Network == NetworkNone || step.Network == NetworkPrivate && h.networks.shared == nil
	return own && joined(step, specs.NetworkNamespace) == ""
}

// onHostNetwork reports whether a step uses the host's network namespace.
func onHostNetwork(step *Step) bool {
	return (step.Network == "" || step.Network == NetworkHost) && joined(step, specs.NetworkNamespace) == ""
}

// hostname returns the host name of a step. It is the host's where the step shares its network, for
// programs that look up their own name.
func hostname(step *Step) (string, error) {
	switch {
	case step.Names.Hostname != "":
		return step.Names.Hostname, nil
	case onHostNetwork(step):
		name, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("read the host's name: %w", err)
		}
		return name, nil
	}
	return step.ID[:min(len(step.ID), hostnameMax)], nil
}

// ownHostname returns the name that the runtime sets in the step's UTS namespace, or "" for a
// joined one, whose name a step must not change.
func ownHostname(step *Step, name string) string {
	if joined(step, specs.UTSNamespace) != "" {
		return ""
	}
	return name
}

// networkFiles writes the step's /etc/hosts and /etc/resolv.conf into dir and
// returns the mounts that put them in place.
func (h *Host) networkFiles(dir string, step *Step, endpoint *network.Endpoint) ([]specs.Mount, error) {
	name, err := hostname(step)
	if err != nil {
		return nil, err
	}
	hosts, err := h.hostsFile(step, name, endpoint)
	if err != nil {
		return nil, err
	}
	resolv, err := h.resolvFile(step, endpoint)
	if err != nil {
		return nil, fmt.Errorf("name servers of the step: %w", err)
	}
	var mounts []specs.Mount
	for _, file := range []struct {
		path string
		data []byte
	}{{"/etc/hosts", hosts}, {"/etc/resolv.conf", resolv}} {
		source := filepath.Join(dir, filepath.Base(file.path))
		if err := writeFile(source, file.data, 0o644); err != nil {
			return nil, err
		}
		mounts = append(mounts, bindFile(source, file.path, "rw"))
	}
	return mounts, nil
}

func bindFile(source, destination string, options ...string) specs.Mount {
	return specs.Mount{
		Type: "bind", Source: source, Destination: destination,
		Options: append([]string{"bind", "rprivate", "nosuid", "nodev"}, options...),
	}
}

// writeFile is os.WriteFile with a mode that the umask does not narrow.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
