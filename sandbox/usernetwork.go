package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrNoUserNetwork says that what connects a private network without root is
// not installed, or cannot do it.
var ErrNoUserNetwork = errors.New("no network for users without root")

// runNetwork is a network namespace that the steps of a run share.
type runNetwork interface {
	up(ctx context.Context) error // once, at the first call
	netns() string
	publish(ctx context.Context, id string, ports []Port) (release func() error, err error)
	down() error
	isRecorded() bool // there is something left to try down again for
}

// userNetwork is the network of a run without root: a program copies packets
// between a tap device in the namespace and ordinary sockets of the host. All
// of it is below one process namespace and dies with that.
type userNetwork struct {
	dir    string
	config string // Options.NetworkConfig, which needs root

	mu      sync.Mutex
	program *os.Process // that connects the namespace; nil: it is not up
}

func newUserNetwork(runDir, config string) *userNetwork {
	return &userNetwork{dir: filepath.Join(runDir, "private", "+network"), config: config}
}

func (n *userNetwork) netns() string    { return filepath.Join(n.dir, "netns") }
func (n *userNetwork) isRecorded() bool { return false }

func (n *userNetwork) up(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.program != nil {
		return nil
	}
	if n.config != "" {
		return fmt.Errorf("private network: the CNI configuration %s needs root (leave it out: pasta or slirp4netns makes the network)", n.config)
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return err
	}
	if err := newNetns(n.netns()); err != nil {
		return errors.Join(fmt.Errorf("private network: %w", err), os.RemoveAll(n.dir))
	}
	if err := n.attach(); err != nil {
		return errors.Join(fmt.Errorf("private network: %w", err), unpinNetns(n.netns()), os.RemoveAll(n.dir))
	}
	return nil
}

// attach connects the namespace by pasta, or else by slirp4netns. Neither is
// to lead to the loopback of the host, where services trust whoever they hear.
func (n *userNetwork) attach() error {
	failed := []error{ErrNoUserNetwork}
	for _, start := range []func() (*os.Process, error){n.pasta, n.slirp4netns} {
		program, err := start()
		if err == nil {
			n.program = program
			return nil
		}
		failed = append(failed, err)
	}
	return fmt.Errorf("%w (install one, e.g. apt-get install passt or slirp4netns; users must be able to open /dev/net/tun)", errors.Join(failed...))
}

// packetCapabilities are those with which a process sends packets of its own
// making.
func packetCapabilities() []string { return []string{"CAP_NET_RAW", "CAP_NET_ADMIN"} }

// grantable are the capabilities that a step can have. In a private network
// without root it cannot make packets: pasta (before 2024) and slirp4netns send
// one for 127.0.0.1 to the loopback of the host, which a kernel would have
// dropped on its way (CVE-2020-8558 is the same for bridges).
func (h *Host) grantable(step *Step) []string {
	if h.rootless && step.Network == NetworkPrivate {
		return without(h.capabilities, packetCapabilities())
	}
	return h.capabilities
}

// checkPackets says so where a step asks for one of them.
func (h *Host) checkPackets(step *Step) error {
	add, err := normalCapabilities("cap_add", step.Security.CapAdd)
	if err != nil || !h.rootless || step.Network != NetworkPrivate {
		return nil // secure has the error
	}
	for _, name := range packetCapabilities() {
		if slices.Contains(add, name) {
			return fmt.Errorf("cap_add %s: refused in a private network without root: packets that a step makes itself would reach the loopback of the host (use network: none or host, or run stepexec as root)", name)
		}
	}
	return nil
}

// pasta goes into the background, as a child of ours, when the namespace is
// connected.
func (n *userNetwork) pasta() (*os.Process, error) {
	pid := filepath.Join(n.dir, "pasta.pid")
	out, err := exec.Command("pasta", "--quiet", "--config-net", "--no-map-gw",
		"-t", "none", "-u", "none", "-T", "none", "-U", "none", "--pid", pid, "--netns", n.netns()).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pasta: %w", saidWhy(err, out))
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		return nil, fmt.Errorf("pasta: %w", err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("pasta: read %s: %w", pid, err)
	}
	return os.FindProcess(number)
}

// slirp4netns writes a byte when the namespace is connected.
func (n *userNetwork) slirp4netns() (*os.Process, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd := exec.Command("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--netns-type=path", n.netns(), "eth0")
	cmd.ExtraFiles = []*os.File{out}
	log, err := os.Create(filepath.Join(n.dir, "slirp4netns.log"))
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	defer log.Close()
	cmd.Stderr = log // a file, so that nobody needs to read along
	if err := errors.Join(cmd.Start(), out.Close()); err != nil {
		return nil, err
	}
	if _, err := in.Read(make([]byte, 1)); err != nil { // it has ended
		_ = cmd.Wait() // with an exit code that says less than its words
		text, err := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("slirp4netns: %s", bytes.TrimSpace(text)), err)
	}
	return cmd.Process, nil
}

// down ends the program and with it the network, when there is one.
func (n *userNetwork) down() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.program == nil {
		return nil
	}
	err := ignoreDone(n.program.Kill())
	if err == nil {
		_, err = n.program.Wait()
	}
	n.program = nil
	return errors.Join(err, unpinNetns(n.netns()), os.RemoveAll(n.dir))
}

// publish listens on ports of the host and connects whoever calls to the
// step's. UDP, which has no connections, is left to networks of root's.
func (n *userNetwork) publish(_ context.Context, _ string, ports []Port) (release func() error, err error) {
	f := &forwarder{netns: n.netns(), connections: map[net.Conn]bool{}}
	for _, p := range ports {
		if protocol(p) != "tcp" {
			return nil, errors.Join(fmt.Errorf("publish port %s: without root only TCP ports can be published", portName(p)), f.close())
		}
		if err := f.listen(p); err != nil {
			return nil, errors.Join(fmt.Errorf("publish port %s: %w (another run or program has it, the host lacks the address, or users may not have it: sysctl net.ipv4.ip_unprivileged_port_start)", portName(p), withoutAddress(err)), f.close())
		}
	}
	return f.close, nil
}
