package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/containernetworking/cni/libcni"
)

// publish forwards ports of the host into the run's network until release is
// called; id names the rules. Each port is also held by a socket: without it
// the rules would take the port away from a program of the host that listens
// there, or from another run, and nobody would notice.
func (n *privateNetwork) publish(ctx context.Context, id string, ports []Port) (release func() error, err error) {
	held, err := holdPorts(ports)
	if err != nil {
		return nil, err
	}
	plugin, err := n.portmap()
	if err != nil {
		return nil, errors.Join(err, closeAll(held))
	}
	conf := n.runtimeConf()
	conf.ContainerID = id
	conf.CapabilityArgs = map[string]any{"portMappings": portMappings(ports)}
	remove := func() error {
		return underLock(context.Background(), func(ctx context.Context) error {
			return n.cni().DelNetwork(ctx, plugin, conf)
		})
	}
	err = underLock(ctx, func(ctx context.Context) error {
		_, err := n.cni().AddNetwork(ctx, plugin, conf)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("publish ports: %w", err), remove(), closeAll(held))
	}
	return func() error { return errors.Join(closeAll(held), remove()) }, nil
}

// portmap is the configuration of the plugin of that name, which is run once
// for every step: a step's ports are published when its container is made, and
// the network may be older.
func (n *privateNetwork) portmap() (*libcni.PluginConfig, error) {
	previous, err := n.result.GetAsVersion(cniVersion)
	if err != nil {
		return nil, fmt.Errorf("publish ports: %w", err)
	}
	config, err := json.Marshal(map[string]any{
		"cniVersion": cniVersion, "name": "stepexec-ports", "type": "portmap",
		"capabilities": map[string]bool{"portMappings": true},
		"prevResult":   previous,
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkPluginConfFromBytes(config)
}

// portMappings are ports as the CNI convention of that name has them.
func portMappings(ports []Port) []map[string]any {
	var list []map[string]any
	for _, p := range ports {
		list = append(list, map[string]any{
			"hostIP": hostIP(p), "hostPort": hostPort(p), "containerPort": p.Container, "protocol": protocol(p),
		})
	}
	return list
}

func hostIP(p Port) string   { return cmp.Or(p.HostIP, "127.0.0.1") }
func hostPort(p Port) int    { return cmp.Or(p.Host, p.Container) }
func protocol(p Port) string { return cmp.Or(p.Protocol, "tcp") }

// portName is the port as error messages write it, such as 127.0.0.1:8080/tcp.
func portName(p Port) string {
	return net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p))) + "/" + protocol(p)
}

func checkPorts(ports []Port) error {
	seen := map[string]bool{}
	for _, p := range ports {
		if address, err := netip.ParseAddr(hostIP(p)); err != nil || !address.Is4() {
			return fmt.Errorf("publish port %s: %q is no IPv4 address of the host", portName(p), p.HostIP)
		}
		if protocol(p) != "tcp" && protocol(p) != "udp" {
			return fmt.Errorf("publish port %s: the protocol must be tcp or udp", portName(p))
		}
		for _, number := range []int{p.Container, hostPort(p)} {
			if number < 1 || number > 65535 {
				return fmt.Errorf("publish port %s: %d is no port number (1 to 65535)", portName(p), number)
			}
		}
		if seen[portName(p)] {
			return fmt.Errorf("publish port %s: it is listed twice", portName(p))
		}
		seen[portName(p)] = true
	}
	return nil
}

// holdPorts binds ports of the host without serving them.
func holdPorts(ports []Port) (held []io.Closer, err error) {
	for _, p := range ports {
		socket, err := holdPort(p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("publish port %s: %w (another run or program has it, or the host lacks the address)", portName(p), withoutAddress(err)), closeAll(held))
		}
		held = append(held, socket)
	}
	return held, nil
}

func holdPort(p Port) (io.Closer, error) {
	address := net.JoinHostPort(hostIP(p), strconv.Itoa(hostPort(p)))
	if protocol(p) == "udp" {
		return net.ListenPacket("udp4", address)
	}
	return net.Listen("tcp4", address)
}

// withoutAddress is an error of package net without the address, which is said beside it.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

func closeAll(list []io.Closer) error {
	var failed []error
	for _, c := range list {
		failed = append(failed, c.Close())
	}
	return errors.Join(failed...)
}
