package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox/network"
)

// network parses this program's networks, and those that docker, podman and nerdctl have in
// addition: their bridges become the command's own network.
func (k *stepKeys) network(value string) error {
	const flag = "--network"
	name, rest, isList := strings.Cut(value, ",")
	if text, ok := strings.CutPrefix(name, "name="); ok {
		name = text
	}
	if isList || strings.HasPrefix(name, "alias=") {
		if isList && !strings.HasPrefix(rest, "alias=") || strings.Contains(rest, ",") || strings.HasPrefix(name, "alias=") {
			return refusal{fmt.Sprintf("%q: a network takes its name and one alias (write --network NAME --network-alias ALIAS)", value)}
		}
		k.set(flag, "aliases", []string{strings.TrimPrefix(rest, "alias=")})
	}
	kind, of, hasOf := strings.Cut(name, ":")
	switch {
	case name == "":
		return refusal{"the name of a network is missing (there are host, none and private)"}
	case name == "host", name == "none", name == "private":
		k.set(flag, "network", name)
	case hasOf && kind == "ns":
		k.set(flag, "namespaces", []pipeline.Pair{{Key: "network", Value: of}})
	case hasOf && kind == "container":
		return refusal{fmt.Sprintf("%q: there are no other containers to join (write a pipeline with services, or --with-ns network:/proc/PID/ns/net)", name)}
	case kind == "bridge", kind == "default", kind == "slirp4netns", kind == "pasta", kind == "nat":
		k.set(flag, "network", "private")
	case hasOf:
		return refusal{fmt.Sprintf("%q is not a network (there are host, none and private)", name)}
	default:
		k.set(flag, "network", "private")
		k.note(fmt.Sprintf("--network %s: the command has a private network of its own; what else is on a network of that name is not reached (for containers that reach each other write a pipeline with services)", name))
	}
	return nil
}

// publish parses published ports. It chooses the host's port if none is given.
func (k *stepKeys) publish(value string) error {
	ports, err := pipeline.ParsePorts(value)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if port.Host == pipeline.FreePort {
			if port.Host, err = network.FreePort(port); err != nil {
				return fmt.Errorf("%s: %w", value, err)
			}
			k.note(fmt.Sprintf("--publish %s: port %d of the command is %s", value, port.Container, network.PortName(port)))
		}
		k.set("--publish", "ports", []string{portText(port)})
	}
	return nil
}

// portText writes a port in the form that pipeline.ParsePorts reads.
func portText(port pipeline.Port) string {
	text := strconv.Itoa(port.Container) + "/" + port.Protocol
	switch {
	case port.HostIP != "":
		return net.JoinHostPort(port.HostIP, strconv.Itoa(port.Host)) + ":" + text
	case port.Host != 0:
		return strconv.Itoa(port.Host) + ":" + text
	}
	return text
}

// settlePorts gives a command with published ports and without a network its own network, as in
// docker. On the host's network a port of the command is already a port of the host.
func (k *stepKeys) settlePorts() error {
	if !k.has("ports") {
		return nil
	}
	var chosen string
	var published []string
	for _, f := range k.given {
		switch f.Key {
		case "network":
			chosen = f.Value.(string)
		case "ports":
			published = f.Value.([]string)
		}
	}
	switch {
	case k.has("namespaces"), chosen == "none", chosen == "private":
		return nil // package pipeline reports the error
	case chosen == "":
		k.set("--publish", "network", "private")
		return nil
	}
	for _, text := range published {
		port, err := pipeline.ParsePorts(text)
		if err != nil {
			return err
		}
		if port[0].Host != 0 && port[0].Host != port[0].Container {
			return fmt.Errorf("--publish %s: on the host's network a port of the command is the port of the host with the same number (leave out --network host, or publish %d:%d)", text, port[0].Container, port[0].Container)
		}
	}
	k.unset("ports")
	k.note("--publish has no effect with --network host: a port of the command is one of the host already")
	return nil
}

// pull parses when to ask the registry, including podman's word for it.
func (k *stepKeys) pull(value string) error {
	if value == "newer" { // always uses the stored image if the registry has nothing newer
		value = "always"
	}
	k.set("--pull", "pull", value)
	return nil
}
