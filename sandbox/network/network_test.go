package network_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	cont "github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/sandbox/network"
)

const inOwnHost = "STEPEXEC_TEST_NETWORK"

// TestMain runs the tests in a network namespace that stands for the host, with
// a mount namespace of its own. Nothing of the machine is touched.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inOwnHost) != "" {
		os.Exit(m.Run())
	}
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Env = append(os.Environ(), inOwnHost+"=1")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := command.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func shell(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// needRoot skips where the tests have no host of their own.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv(inOwnHost) == "" {
		t.Skip("needs root, for network namespaces")
	}
	shell(t, "mount --make-rprivate /; ip link set lo up")
}

// run makes a network that is taken away when the test ends, which then looks
// whether anything is left on the host.
func run(t *testing.T, id string, servers ...string) *network.Bridged {
	t.Helper()
	n := network.New(network.Options{Run: id, Dir: filepath.Join(t.TempDir(), "network"), Servers: servers})
	must(t, n.Up(t.Context()))
	t.Cleanup(func() {
		must(t, n.Down())
		if left := traces(t, id); left != "" {
			t.Errorf("left behind: on the host %s", left)
		}
	})
	return n
}

// traces lists whatever a run has left on the host.
func traces(t *testing.T, id string) string {
	t.Helper()
	return shell(t, "{ ip -o link; ip route show table all; ip -6 route show table all; nft list ruleset 2>/dev/null; cat /proc/self/mounts; } | grep "+id+" || :")
}

// container is a network namespace that joins a network as a member.
type container struct {
	*network.Endpoint
	namespace *os.File
	router    string // address of the run's name server, where a test asks it
}

func join(t *testing.T, n *network.Bridged, m network.Member) *container {
	t.Helper()
	e, err := n.Join(m)
	must(t, err)
	c := &container{Endpoint: e, namespace: newNamespace(t)}
	must(t, e.Plug(c.namespace))
	t.Cleanup(func() { must(t, e.Leave()) })
	return c
}

func newNamespace(t testing.TB) *os.File {
	t.Helper()
	var namespace *os.File
	must(t, onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var err error
		namespace, err = os.Open("/proc/thread-self/ns/net")
		return err
	}))
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

func in(namespace *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// serve answers every connection to an address of a namespace with text.
func serve(t *testing.T, namespace *os.File, address, text string) {
	t.Helper()
	var listener net.Listener
	listen := func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}
	if namespace == nil {
		must(t, listen())
	} else {
		must(t, in(namespace, listen))
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%s to %s", text, from)
			conn.Close()
		}
	}()
}

// call connects from a container and returns what it is answered, or why not.
func (c *container) call(address string) string {
	var text string
	err := in(c.namespace, func() error {
		conn, err := (&net.Dialer{Timeout: 3 * time.Second}).Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		data, err := io.ReadAll(conn)
		text = string(data)
		return err
	})
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.ECONNRESET):
		return "refused"
	case err != nil:
		return err.Error()
	}
	return text
}

// lookup resolves a name as a container does.
func (c *container) lookup(t *testing.T, n *network.Bridged, name string) string {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, protocol, _ string) (conn net.Conn, err error) {
		err = in(c.namespace, func() error {
			conn, err = new(net.Dialer).DialContext(ctx, protocol, net.JoinHostPort(n.Router().V4.String(), "53"))
			return err
		})
		return conn, err
	}}
	addresses, err := resolver.LookupNetIP(t.Context(), "ip", name+".")
	if err != nil {
		var failed *net.DNSError
		if errors.As(err, &failed) && failed.IsNotFound {
			return "none"
		}
		return err.Error()
	}
	var list []string
	for _, a := range addresses {
		list = append(list, a.Unmap().String())
	}
	return strings.Join(list, " ")
}

func TestContainersHaveAddressesNamesAndPortsOfTheirOwn(t *testing.T) {
	needRoot(t)
	n := run(t, "aaaaaaaaaa")
	pinned, err := n.Pin("db_b")
	must(t, err)
	first := join(t, n, network.Member{Names: []string{"db_a", "main"}})
	second := join(t, n, network.Member{Names: []string{"DB_B"}})
	if second.Addresses != pinned {
		t.Errorf("pinned %v, got %v", pinned, second.Addresses)
	}
	serve(t, first.namespace, ":5432", "first")
	serve(t, second.namespace, ":5432", "second")
	step := join(t, n, network.Member{Names: []string{"step"}})
	for name, want := range map[string]string{"db_a": "first", "main": "first", "db_b": "second", "Db_A": "first"} {
		addresses := strings.Fields(step.lookup(t, n, name))
		if len(addresses) != 2 {
			t.Fatalf("%s: addresses %q", name, addresses)
		}
		for _, address := range addresses {
			if got := step.call(net.JoinHostPort(address, "5432")); !strings.HasPrefix(got, want+" to ") {
				t.Errorf("%s at %s: %q", name, address, got)
			}
		}
	}
	if got := step.call("127.0.0.1:5432"); got != "refused" {
		t.Errorf("the step's own loopback: %q", got)
	}
	if got := first.call(net.JoinHostPort(first.V4.String(), "5432")); !strings.HasPrefix(got, "first") {
		t.Errorf("a service calls itself by its address: %q", got)
	}
	if got := step.lookup(t, n, "nobody"); !strings.Contains(got, "server misbehaving") {
		t.Errorf("without an upstream: %q", got)
	}
}

// world is a namespace behind a link of the host's, which is its gateway.
func world(t *testing.T) *os.File {
	t.Helper()
	namespace := newNamespace(t)
	must(t, in(namespace, func() error {
		out, err := exec.Command("sh", "-ec", fmt.Sprintf(`
			ip link add world type veth peer name hostlink netns %d
			ip addr add 198.51.100.2/24 dev world; ip addr add 198.51.100.3/24 dev world; ip addr add 169.254.169.254/32 dev world
			ip addr add 2001:db8::2/64 dev world nodad
			ip link set world up`, os.Getpid())).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}))
	shell(t, `ip addr add 198.51.100.1/24 dev hostlink; ip addr add 2001:db8::1/64 dev hostlink nodad; ip link set hostlink mtu 1400 up
		ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8::2`)
	t.Cleanup(func() { shell(t, "ip link del hostlink") })
	return namespace
}

func TestWorldIsReachedByTheHostsAddress(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	n := run(t, "aaaaaaaaab")
	c := join(t, n, network.Member{})
	for address, want := range map[string]string{
		"198.51.100.2:80":    "hello to 198.51.100.1",
		"[2001:db8::2]:80":   "hello to 2001:db8::1",
		"169.254.169.254:80": "refused",
	} {
		if got := c.call(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	must(t, in(c.namespace, func() error {
		link, err := net.InterfaceByName("eth0")
		if err == nil && link.MTU != 1400 {
			t.Errorf("MTU %d, the route's is 1400", link.MTU)
		}
		return err
	}))
}

// Neighbours are asked for once here: whoever loses that packet reaches nobody.
func TestTheFirstPacketOfAContainerIsNotLost(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	n := run(t, "aaaaaaaaah")
	service := join(t, n, network.Member{})
	serve(t, service.namespace, ":80", "hello")
	for range 10 {
		for _, address := range []string{net.JoinHostPort(service.V4.String(), "80"), "198.51.100.2:80"} {
			c := join(t, n, network.Member{})
			must(t, in(c.namespace, func() error { return os.WriteFile("/proc/sys/net/ipv4/neigh/eth0/mcast_solicit", []byte("1"), 0) }))
			if got := c.call(address); !strings.HasPrefix(got, "hello") {
				t.Errorf("%s: %q", address, got)
			}
		}
	}
}

func TestHostIsClosedUnlessAskedFor(t *testing.T) {
	needRoot(t)
	world(t)
	serve(t, nil, ":8080", "host")
	n := run(t, "aaaaaaaaac")
	gateway, err := n.HostGateway()
	must(t, err)
	closed := join(t, n, network.Member{})
	open := join(t, n, network.Member{Gateway: true})
	for _, address := range []string{"198.51.100.1", "2001:db8::1", gateway.V4.String(), gateway.V6.String(), n.Router().V4.String(), n.Router().V6.String()} {
		if got := closed.call(net.JoinHostPort(address, "8080")); got != "refused" {
			t.Errorf("closed: %s: %q", address, got)
		}
		want := "refused"
		if address == gateway.V4.String() || address == gateway.V6.String() {
			want = "host to "
		}
		if got := open.call(net.JoinHostPort(address, "8080")); !strings.HasPrefix(got, want) {
			t.Errorf("open: %s: %q", address, got)
		}
	}
	// An address that the host has got since is closed too.
	shell(t, "ip addr add 203.0.113.9/32 dev lo")
	t.Cleanup(func() { shell(t, "ip addr del 203.0.113.9/32 dev lo") })
	if got := closed.call("203.0.113.9:8080"); got != "refused" {
		t.Errorf("a new address: %q", got)
	}
}

func TestRunsDoNotReachEachOther(t *testing.T) {
	needRoot(t)
	a, b := run(t, "aaaaaaaaad"), run(t, "aaaaaaaaae")
	one, other := join(t, a, network.Member{}), join(t, b, network.Member{})
	serve(t, other.namespace, ":80", "other")
	shell(t, "nft flush ruleset") // also where somebody reloads the host's firewall
	for _, address := range []netip.Addr{other.V4, other.V6} {
		if got := one.call(net.JoinHostPort(address.String(), "80")); !strings.Contains(got, "timeout") && got != "refused" {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestAReloadOfTheHostsFirewallDoesNotCutARunOff(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	serve(t, nil, ":8080", "host")
	warned := make(chan string, 10)
	n := network.New(network.Options{Run: "aaaaaaaaag", Dir: filepath.Join(t.TempDir(), "network"), Warn: func(line string) { warned <- line }})
	must(t, n.Up(t.Context()))
	defer func() { must(t, n.Down()) }()
	gateway, err := n.HostGateway()
	must(t, err)
	open := join(t, n, network.Member{Gateway: true})
	closed := join(t, n, network.Member{})
	reaches := func(what string) {
		t.Helper()
		until(t, what+": the world", func() bool { return strings.HasPrefix(closed.call("198.51.100.2:80"), "hello") })
		until(t, what+": the host", func() bool {
			return strings.HasPrefix(open.call(net.JoinHostPort(gateway.V4.String(), "8080")), "host")
		})
		if got := closed.call(net.JoinHostPort(gateway.V4.String(), "8080")); got != "refused" {
			t.Errorf("%s: the host is open: %q", what, got)
		}
	}
	reaches("at first")
	shell(t, "nft flush ruleset")
	if line := <-warned; !strings.Contains(line, "flushed the host's firewall") {
		t.Errorf("warning %q", line)
	}
	reaches("after a flush")
	// A firewall that comes up later, and one that is loaded anew.
	const firewall = `printf '%s\n' 'flush ruleset' 'table inet filter {' 'chain forward {' \
		'type filter hook forward priority 0; policy drop;' 'ct state established accept' '}' '}' | nft -f -`
	shell(t, firewall)
	<-warned
	reaches("with another firewall")
	shell(t, "nft flush chain inet filter forward")
	reaches("after a flush of its chain")
	shell(t, firewall)
	<-warned
	reaches("after its reload")
	shell(t, "nft delete table inet filter")
}

// Docker and ufw have iptables drop whatever they do not know.
func TestARunGoesThroughAFirewallThatDropsByPolicy(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	if runShell("iptables-nft -P FORWARD DROP && iptables-nft -A FORWARD -s 192.0.2.0/24 -j ACCEPT") != nil {
		t.Skip("this machine has no iptables-nft")
	}
	defer shell(t, "iptables-nft -P FORWARD ACCEPT; iptables-nft -F FORWARD")
	n := run(t, "aaaaaaaaai")
	c := join(t, n, network.Member{})
	if got := c.call("198.51.100.2:80"); !strings.HasPrefix(got, "hello") {
		t.Errorf("with a policy of drop: %q", got)
	}
	shell(t, "iptables-nft -F FORWARD")
	until(t, "after a flush", func() bool { return strings.HasPrefix(c.call("198.51.100.2:80"), "hello") })
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 100 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s: not reached", what)
}

func runShell(script string) error {
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}

func answerPackets(echo net.PacketConn) {
	packet := make([]byte, 100)
	for {
		size, from, err := echo.ReadFrom(packet)
		if err != nil {
			return
		}
		_, _ = echo.WriteTo(packet[:size], from)
	}
}

// The first packet finds that nobody listens by IPv4, so a client has to ask again.
func TestPublishedPortsLeadToProgramsThatListenByIPv6Alone(t *testing.T) {
	needRoot(t)
	n := run(t, "aaaaaaapub")
	c := join(t, n, network.Member{})
	six := func(port string) string { return net.JoinHostPort(c.V6.String(), port) }
	serve(t, c.namespace, six("80"), "hello")
	var echo net.PacketConn
	must(t, in(c.namespace, func() (err error) {
		echo, err = net.ListenPacket("udp", six("7"))
		return err
	}))
	go answerPackets(echo)
	t.Cleanup(func() { echo.Close() })
	release, err := c.Publish([]cont.Port{{Host: 8086, Container: 80}, {Host: 7086, Container: 7, Protocol: "udp"}})
	must(t, err)
	defer func() { must(t, release()) }()
	conn, err := net.Dial("tcp", "127.0.0.1:8086")
	must(t, err)
	defer conn.Close()
	if data, err := io.ReadAll(conn); !strings.HasPrefix(string(data), "hello") {
		t.Errorf("TCP: %q, %v", data, err)
	}
	packets, err := net.Dial("udp", "127.0.0.1:7086")
	must(t, err)
	defer packets.Close()
	answer := make([]byte, 10)
	for tries := 1; ; tries++ {
		_, err = packets.Write([]byte("one"))
		must(t, err)
		must(t, packets.SetReadDeadline(time.Now().Add(time.Second)))
		size, err := packets.Read(answer)
		if err == nil && string(answer[:size]) == "one" {
			return
		}
		if tries == 20 {
			t.Fatalf("waited for an answer by UDP to %d packets: %q, %v", tries, answer[:size], err)
		}
	}
}

func TestPublishedPortsLeadToTheContainer(t *testing.T) {
	needRoot(t)
	n := run(t, "aaaaaaaaaf")
	c := join(t, n, network.Member{})
	serve(t, c.namespace, ":80", "hello")
	var echo net.PacketConn
	must(t, in(c.namespace, func() (err error) {
		echo, err = net.ListenPacket("udp", ":7")
		return err
	}))
	go answerPackets(echo)
	t.Cleanup(func() { echo.Close() })
	release, err := c.Publish([]cont.Port{{Host: 8080, Container: 80}, {HostIP: "::1", Host: 8080, Container: 80}, {Host: 7007, Container: 7, Protocol: "udp"}})
	must(t, err)
	for _, address := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		conn, err := net.Dial("tcp", address)
		must(t, err)
		data, err := io.ReadAll(conn)
		must(t, err)
		if !strings.HasPrefix(string(data), "hello") {
			t.Errorf("%s: %q", address, data)
		}
		conn.Close()
	}
	conn, err := net.Dial("udp", "127.0.0.1:7007")
	must(t, err)
	defer conn.Close()
	for _, text := range []string{"one", "two"} {
		_, err = conn.Write([]byte(text))
		must(t, err)
		answer := make([]byte, 10)
		must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		size, err := conn.Read(answer)
		must(t, err)
		if string(answer[:size]) != text {
			t.Errorf("answer %q", answer[:size])
		}
	}
	if _, err := c.Publish([]cont.Port{{Host: 8080, Container: 80}}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("published twice: %v", err)
	}
	if _, err := c.Publish([]cont.Port{{Host: 7007, Container: 80, Protocol: "udp"}}); err == nil || !strings.Contains(err.Error(), "address already in use: this run") {
		t.Errorf("published twice by UDP: %v", err)
	}
	must(t, release())
	if _, err := net.Dial("tcp", "127.0.0.1:8080"); err == nil {
		t.Error("the port is open after its release")
	}
}
