package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// joinNetwork makes the run's network when the step wants it and publishes the
// step's ports there until release is called. Steps on other networks have
// nothing to make.
func (h *Host) joinNetwork(ctx context.Context, step *Step) (release func() error, err error) {
	nothing := func() error { return nil }
	if err := errors.Join(checkNetwork(step), checkNames(step)); err != nil {
		return nil, err
	}
	if step.Network != NetworkPrivate {
		return nothing, nil
	}
	if err := h.network.up(ctx); err != nil {
		return nil, err
	}
	if len(step.Names.Ports) == 0 {
		return nothing, nil
	}
	return h.network.publish(ctx, h.containerID(step), step.Names.Ports)
}

func checkNetwork(step *Step) error {
	switch step.Network {
	case "", NetworkHost, NetworkNone, NetworkPrivate:
	default:
		return fmt.Errorf("network %q: must be %s, %s or %s", step.Network, NetworkHost, NetworkNone, NetworkPrivate)
	}
	if len(step.Names.Ports) > 0 && step.Network != NetworkPrivate {
		return fmt.Errorf("publish port %s: only ports of a private network can be published (set network: private; on the host's network a step's ports are the host's)", portName(step.Names.Ports[0]))
	}
	return nil
}

// onHostNetwork reports whether a step uses the host's network namespace.
func onHostNetwork(step *Step) bool {
	return (step.Network == "" || step.Network == NetworkHost) && joined(step, specs.NetworkNamespace) == ""
}

// hostname is what a step's machine is called: as the host where it shares its
// network, for programs that look their own name up.
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

// ownHostname is what the runtime sets in the step's UTS namespace; "":
// nothing, as the name of a joined one is not the step's to change.
func ownHostname(step *Step, name string) string {
	if joined(step, specs.UTSNamespace) != "" {
		return ""
	}
	return name
}

// networkFiles writes the step's /etc/hosts and /etc/resolv.conf into dir and
// returns the mounts that put them in place.
func networkFiles(dir string, step *Step) ([]specs.Mount, error) {
	name, err := hostname(step)
	if err != nil {
		return nil, err
	}
	hosts, err := hostsFile(step, name)
	if err != nil {
		return nil, err
	}
	resolv, err := resolvFile(step)
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
