package sandbox_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/sandbox/network"
)

// openNetworkHost opens a Host and checks, when the test ends, that it leaves
// nothing of a network.
func openNetworkHost(t *testing.T) *sandbox.Host {
	t.Helper()
	if rootless.InNamespace() {
		return openHost(t) // without root there is nothing on the host
	}
	var traces []string
	t.Cleanup(func() { checkGone(t, traces) }) // after Close
	host := openHost(t)
	t.Cleanup(func() { traces = networkTraces(t, host.ID()) })
	return host
}

// networkTraces are words by which what a run's network has put on the host
// can be found: other runs may be there at the same time.
func networkTraces(t *testing.T, run string) []string {
	t.Helper()
	address := regexp.MustCompile(`inet ([0-9.]+)\.254/30`).FindStringSubmatch(shell(t, "ip -o -4 addr show dev step-"+run))
	if address == nil {
		t.Fatalf("the run has no network, so this test shows nothing")
	}
	if !strings.Contains(shell(t, "nft list tables"), "stepexec-"+run) {
		t.Fatalf("the run has no table, so this test shows nothing")
	}
	return []string{run, " " + address[1] + "."}
}

func checkGone(t *testing.T, traces []string) {
	t.Helper()
	state := shell(t, "ip -o link show; ip route show table all; nft list ruleset; ls -R /var/lib/cni /run/netns 2>/dev/null; cat /proc/self/mounts")
	for line := range strings.Lines(state) {
		for _, trace := range traces {
			if strings.Contains(line, trace) {
				t.Errorf("left behind: on the host %s", line)
			}
		}
	}
}

func shell(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", command+"; :").Output()
	must(t, err)
	return string(out)
}

// begin prepares and starts a step that ends with the test.
func begin(t *testing.T, host *sandbox.Host, step *sandbox.Step) (stdout string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	step.Stdout, step.Stderr = out, out
	s, err := host.Prepare(t.Context(), step)
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Remove())
		must(t, out.Close())
	})
	must(t, s.Start(t.Context()))
	return out.Name()
}

// service is a step of the run's network that answers every connection to
// 5432 with text.
func service(t *testing.T, host *sandbox.Host, text string, ports ...sandbox.Port) *sandbox.Step {
	t.Helper()
	step := script(t, "echo ready; while :; do nc -l -p 5432 -e echo "+text+"; done")
	step.ID, step.Network, step.Names.Ports = "service", sandbox.NetworkPrivate, ports
	return step
}

// ask is a script that connects until somebody listens.
const ask = "until nc -w 2 %s %d </dev/null 2>/dev/null; do :; done\n"

func privateStep(t *testing.T, text string) *sandbox.Step {
	step := script(t, text)
	step.Network = sandbox.NetworkPrivate
	return step
}

// peers are the services of tests, by name.
func peers(names ...string) []sandbox.Peer {
	var list []sandbox.Peer
	for _, name := range names {
		list = append(list, sandbox.Peer{Names: []string{name}, Network: sandbox.NetworkPrivate})
	}
	return list
}

func TestServicesWithTheSamePortAreToldApartByName(t *testing.T) {
	host := openNetworkHost(t)
	for _, name := range []string{"db_a", "db-b"} {
		one := service(t, host, name)
		one.ID, one.Aliases, one.Peers = name, []string{name}, peers("db_a", "db-b")
		begin(t, host, one)
	}
	step := privateStep(t, fmt.Sprintf(ask, "db_a", 5432)+fmt.Sprintf(ask, "db-b", 5432)+
		"nslookup db-b | grep -c '^Name:' >&2; nc -w 1 127.0.0.1 5432 </dev/null || echo none")
	step.Peers = peers("db_a", "db-b")
	stdout, stderr, _ := output(t, host, step)
	if stdout != "db_a\ndb-b\nnone\n" {
		t.Errorf("output %q, %q", stdout, stderr)
	}
}

func TestNameOfAServiceOnAnotherNetworkLeadsNowhere(t *testing.T) {
	host := openNetworkHost(t)
	output(t, host, privateStep(t, "true"))
	for of, peer := range map[string]string{sandbox.NetworkPrivate: sandbox.NetworkHost, sandbox.NetworkHost: sandbox.NetworkPrivate} {
		step := script(t, "grep -c other /etc/hosts; :")
		step.Network, step.Peers = of, []sandbox.Peer{{Names: []string{"other"}, Network: peer}}
		if stdout, stderr, _ := output(t, host, step); stdout != "0\n" {
			t.Errorf("step on %s, service on %s: %q, %q", of, peer, stdout, stderr)
		}
	}
}

func TestRunsWithTheSamePortDoNotMeet(t *testing.T) {
	var addresses []string
	hosts := []*sandbox.Host{openNetworkHost(t), openNetworkHost(t)}
	for i, name := range []string{"first", "second"} {
		one := service(t, hosts[i], name)
		one.Aliases = []string{"db"}
		begin(t, hosts[i], one)
		step := privateStep(t, fmt.Sprintf(ask, "db", 5432)+"grep 'db$' /etc/hosts | head -n 1")
		step.Peers = peers("db")
		stdout, stderr, _ := output(t, hosts[i], step)
		answer := strings.Fields(stdout)
		if len(answer) != 3 || answer[0] != name {
			t.Fatalf("output %q, %q", stdout, stderr)
		}
		addresses = append(addresses, answer[1])
	}
	for i, host := range hosts {
		mine, other := addresses[i], addresses[1-i]
		stdout, _, _ := output(t, host, privateStep(t, fmt.Sprintf("nc -w 2 %s 5432 </dev/null; nc -w 1 %s 5432 </dev/null || echo none", mine, other)))
		if want := []string{"first\nnone\n", "second\nnone\n"}[i]; stdout != want {
			t.Errorf("run at %s: output %q, want %q", mine, stdout, want)
		}
	}
}

// greet serves connections of a listener, each with a line that says who
// asks, until the test ends.
func greet(t *testing.T, listener net.Listener) {
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			peer, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintln(conn, "hello", peer)
			conn.Close()
		}
	}()
}

func portOf(listener net.Listener) int { return listener.Addr().(*net.TCPAddr).Port }

func TestPrivateNetworkReachesOutsideMasqueraded(t *testing.T) {
	outside := otherMachine(t)
	stdout, stderr, exit := output(t, openNetworkHost(t), privateStep(t, fmt.Sprintf("nc -w 5 %s </dev/null", outside)))
	if stdout != "hello 198.51.100.1\n" || exit.Code != 0 {
		t.Errorf("output %q, %q: want the host's own address as the peer's", stdout, stderr)
	}
}

// otherMachine is a network namespace behind a link of the host's, with a
// listener that tells its clients what address they have. It returns the
// arguments that lead nc there.
func otherMachine(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("stepexec-test-%d", os.Getpid())
	must(t, exec.Command("ip", "netns", "add", name).Run())
	t.Cleanup(func() { must(t, exec.Command("ip", "netns", "del", name).Run()) })
	out, err := exec.Command("sh", "-ec", `
		ip link add se-outside type veth peer name eth0 netns $0
		ip addr add 198.51.100.1/30 dev se-outside
		ip link set se-outside up
		ip -n $0 addr add 198.51.100.2/30 dev eth0
		ip -n $0 link set eth0 up`, name).CombinedOutput()
	// The kernel deletes a link some time after its namespace; the test wants it gone.
	t.Cleanup(func() { must(t, exec.Command("ip", "link", "del", "se-outside").Run()) })
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	listener := listenIn(t, "/run/netns/"+name)
	greet(t, listener)
	return fmt.Sprintf("198.51.100.2 %d", portOf(listener))
}

// listenIn opens a socket in a network namespace. The goroutine does not
// unlock its thread, so the thread, which is in that namespace, ends with it.
func listenIn(t *testing.T, netns string) net.Listener {
	t.Helper()
	listeners := make(chan net.Listener)
	go func() {
		defer close(listeners)
		runtime.LockOSThread()
		file, err := os.Open(netns)
		if err != nil {
			return
		}
		defer file.Close()
		if unix.Setns(int(file.Fd()), unix.CLONE_NEWNET) != nil {
			return
		}
		if listener, err := net.Listen("tcp4", "0.0.0.0:0"); err == nil {
			listeners <- listener
		}
	}()
	listener := <-listeners
	if listener == nil {
		t.Fatalf("cannot listen in %s", netns)
	}
	return listener
}

func TestHostsLoopbackIsOutOfReachOfAPrivateNetwork(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	greet(t, listener)
	port := portOf(listener)
	host := openNetworkHost(t)
	for name, address := range map[string]string{
		"loopback": "127.0.0.1",
		"gateway":  `$(ip route | sed -n 's/^default via \([0-9.]*\) .*/\1/p')`,
	} {
		t.Run(name, func(t *testing.T) {
			step := privateStep(t, fmt.Sprintf("nc -w 1 %s %d </dev/null || echo none", address, port))
			if stdout, stderr, _ := output(t, host, step); stdout != "none\n" {
				t.Errorf("output %q, %q", stdout, stderr)
			}
		})
	}
}

// CVE-2020-8558: a published port makes the kernel route loopback addresses,
// and then a packet for 127.0.0.1 that is sent to the gateway arrives. A step
// without privileges would make the packet by itself, with a raw socket.
func TestPacketsForLoopbackThatAreSentToTheGatewayAreDropped(t *testing.T) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { socket.Close() })
	step := privateStep(t, fmt.Sprintf(`
		gateway=$(ip route | sed -n 's/^default via \([0-9.]*\) .*/\1/p')
		ip route del table local local 127.0.0.0/8 dev lo
		ip route del table local local 127.0.0.1 dev lo
		ip route add 127.0.0.1/32 via $gateway dev eth0
		timeout 1 tftp -g -r probe 127.0.0.1 %d || echo sent`, socket.LocalAddr().(*net.UDPAddr).Port))
	step.Security.Privileged = true
	step.Names.Ports = []sandbox.Port{{Host: freePort(t), Container: 5432}}
	if stdout, stderr, _ := output(t, openNetworkHost(t), step); stdout != "sent\n" {
		t.Fatalf("output %q, %q", stdout, stderr)
	}
	_, err = socket.(*net.UDPConn).WriteTo([]byte("last"), socket.LocalAddr())
	must(t, err)
	first := make([]byte, 1500)
	n, peer, err := socket.ReadFrom(first)
	must(t, err)
	if string(first[:n]) != "last" {
		t.Errorf("%s has sent %q to the host's loopback", peer, first[:n])
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return portOf(listener)
}

func TestPublishedPortLeadsToItsStep(t *testing.T) {
	host, port := openNetworkHost(t), freePort(t)
	stdout := begin(t, host, service(t, host, "first", sandbox.Port{Host: port, Container: 5432}))
	waitFor(t, stdout, "ready\n")
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for {
		conn, err := net.Dial("tcp4", address)
		if err == nil {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			conn.Close()
			if line == "first\n" {
				break
			}
		}
		must(t, t.Context().Err())
	}
	// Another run cannot have the port as well.
	second := openNetworkHost(t)
	_, err := runStep(t, second, service(t, second, "second", sandbox.Port{Host: port, Container: 5432}), func(*sandbox.Sandbox) { t.Error("prepared") })
	if err == nil || !strings.Contains(err.Error(), "publish port "+address+"/tcp: ") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestPublishedPortIsFreeAgainAfterItsStep(t *testing.T) {
	host, port := openNetworkHost(t), freePort(t)
	for range 2 {
		step := privateStep(t, "true")
		step.Names.Ports = []sandbox.Port{{Host: port, Container: 5432}, {Host: port, Container: 5432, Protocol: "udp"}}
		_, err := runStep(t, host, step, func(*sandbox.Sandbox) {
			if _, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				t.Error("the port is free while it is published")
			}
		})
		must(t, err)
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	must(t, listener.Close())
}

func TestLinkOfAStepTakesOverTheSettingsOfItsStep(t *testing.T) {
	host := openNetworkHost(t)
	const script = "cd /proc/sys/net/ipv4/conf; cat default/arp_notify eth0/arp_notify"
	asked := privateStep(t, script)
	asked.Advanced.Sysctls = map[string]string{"net.ipv4.conf.default.arp_notify": "1"}
	patched := privateStep(t, script)
	patched.Advanced.SpecPatch = []byte(`{"linux":{"sysctl":{"net/ipv4/conf/default/arp_notify":"1"}}}`)
	for name, step := range map[string]*sandbox.Step{"sysctls": asked, "patch": patched} {
		for range 3 { // the link and the settings must not race
			if stdout, stderr, _ := output(t, host, step); stdout != "1\n1\n" {
				t.Fatalf("%s: got %q %q", name, stdout, stderr)
			}
		}
	}
}

func TestNetworkNoneHasLoopbackAlone(t *testing.T) {
	step := script(t, "nc -l -p 7 -e echo answer & "+fmt.Sprintf(ask, "localhost", 7)+"ls /sys/class/net; cat /etc/resolv.conf; hostname")
	step.Network, step.ID = sandbox.NetworkNone, "build"
	step.Names.DNS = []string{"192.0.2.53"}
	stdout, stderr, _ := output(t, openHost(t), step)
	if want := "answer\nlo\nnameserver 192.0.2.53\nbuild\n"; stdout != want {
		t.Errorf("output %q, %q, want %q", stdout, stderr, want)
	}
}

func TestNamesOfAStep(t *testing.T) {
	hostname, err := os.Hostname()
	must(t, err)
	resolv, err := os.ReadFile("/etc/resolv.conf")
	must(t, err)
	tests := []printing{
		{"host's name on its network", "hostname; echo $HOSTNAME", nil, hostname + "\n" + hostname + "\n"},
		{"own name on the host's network", "hostname; echo $HOSTNAME; grep -c own.example /etc/hosts", func(s *sandbox.Step) { s.Names.Hostname = "own.example" },
			"own.example\nown.example\n1\n"},
		{"own name in a private network", "hostname; grep own /etc/hosts | wc -l; ping -c 1 own | grep -c ' 0% packet loss'", func(s *sandbox.Step) { s.Network, s.Names.Hostname = sandbox.NetworkPrivate, "own" },
			"own\n2\n1\n"},
		{"host's name servers", "cat /etc/resolv.conf", nil, string(resolv)},
		{"the run's name server in a private network", "grep -c '^nameserver .*[.]1$' /etc/resolv.conf; grep -c ^nameserver /etc/resolv.conf", func(s *sandbox.Step) { s.Network = sandbox.NetworkPrivate }, "1\n1\n"},
		{"own name servers", "cat /etc/resolv.conf", func(s *sandbox.Step) {
			s.Names.DNS, s.Names.DNSSearch, s.Names.DNSOptions = []string{"192.0.2.53", "2001:db8::53"}, []string{"example.org", "example.com"}, []string{"ndots:2", "use-vc"}
		}, "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org example.com\noptions ndots:2 use-vc\n"},
		{"extra hosts", "tail -n 2 /etc/hosts", func(s *sandbox.Step) {
			s.Names.ExtraHosts = []sandbox.HostAddress{{Name: "mirror", Address: "192.0.2.1"}, {Name: "mirror.example", Address: "2001:db8::1"}}
		}, "192.0.2.1\tmirror\n2001:db8::1\tmirror.example\n"},
		{"ports below 1024 without privilege", "nc -l -p 80 -e echo answer & until nc 127.0.0.1 80 </dev/null 2>/dev/null; do :; done", func(s *sandbox.Step) {
			s.Network, s.User = sandbox.NetworkPrivate, "builder"
		}, "answer\n"},
	}
	assertPrints(t, tests)
}

func TestPrepareRefusesNamesThatAreNone(t *testing.T) {
	port := func(p ...sandbox.Port) func(*sandbox.Step) {
		return func(s *sandbox.Step) { s.Network, s.Names.Ports = sandbox.NetworkPrivate, p }
	}
	tests := []struct {
		name   string
		change func(*sandbox.Step)
		want   string
	}{
		{"network that does not exist", func(s *sandbox.Step) { s.Network = "bridge" }, `network "bridge": must be host, none or private`},
		{"service name with a line break", func(s *sandbox.Step) { s.Peers = peers("db\n192.0.2.1 example.org") }, `not a host name`},
		{"extra host with a space", func(s *sandbox.Step) {
			s.Names.ExtraHosts = []sandbox.HostAddress{{Name: "a b", Address: "192.0.2.1"}}
		}, `extra host "a b": not a host name`},
		{"extra host without an address", func(s *sandbox.Step) {
			s.Names.ExtraHosts = []sandbox.HostAddress{{Name: "a", Address: "192.0.2"}}
		}, `extra host a: "192.0.2" is not an IP address`},
		{"line break in the zone of an address", func(s *sandbox.Step) {
			s.Names.ExtraHosts = []sandbox.HostAddress{{Name: "a", Address: "fe80::1%x\n192.0.2.1"}}
		}, `is not an IP address`},
		{"name server's name", func(s *sandbox.Step) { s.Names.DNS = []string{"dns.example"} }, `dns: "dns.example" is not an IP address`},
		{"search domain with a line break", func(s *sandbox.Step) { s.Names.DNSSearch = []string{"a\nnameserver 192.0.2.1"} }, `is not a domain`},
		{"option with a line break", func(s *sandbox.Step) { s.Names.DNSOptions = []string{"ndots:1\nnameserver 192.0.2.1"} }, `must be as in resolv.conf(5)`},
		{"hostname with a space", func(s *sandbox.Step) { s.Names.Hostname = "a b" }, `hostname "a b": must be of letters`},
		{"hostname longer than the kernel's", func(s *sandbox.Step) { s.Names.Hostname = strings.Repeat("a", 65) }, `at most 64`},
		{"port of the host's network", func(s *sandbox.Step) { s.Names.Ports = []sandbox.Port{{Container: 80}} }, `set network: private`},
		{"port listed twice", port(sandbox.Port{Container: 80}, sandbox.Port{HostIP: "127.0.0.1", Host: 80, Container: 8080}), `publish port 127.0.0.1:80/tcp: it is listed twice`},
		{"port that is none", port(sandbox.Port{Host: 80, Container: 65536}), `65536 is not a port number`},
		{"protocol that is none", port(sandbox.Port{Container: 80, Protocol: "sctp"}), `must be tcp or udp`},
		{"address that is none", port(sandbox.Port{HostIP: "eth0", Container: 80}), `"eth0" is not an IP address`},
	}
	host, root := openHost(t), []string{busybox(t)}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := &sandbox.Step{ID: "1", Lowerdirs: root, Entrypoint: []string{"true"}}
			test.change(step)
			_, err := runStep(t, host, step, func(*sandbox.Sandbox) { t.Error("prepared") })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestMissingPluginsAreNamedWithTheirPackage(t *testing.T) {
	config := filepath.Join(t.TempDir(), "own.conflist")
	write(t, config, `{"cniVersion": "0.4.0", "name": "own", "plugins": [{"type": "no-such-plugin", "ipam": {"type": "no-such-ipam"}}]}`)
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), NetworkConfig: config})
	must(t, err)
	defer func() { must(t, host.Close()) }()
	_, err = runStep(t, host, privateStep(t, "true"), func(*sandbox.Sandbox) { t.Error("prepared") })
	if !errors.Is(err, network.ErrNoPlugins) || !strings.Contains(err.Error(), "no-such-plugin, no-such-ipam") || !strings.Contains(err.Error(), "apt-get install containernetworking-plugins") {
		t.Errorf("got %v", err)
	}
}

func TestNetworkOfTheUsersOwnConfiguration(t *testing.T) {
	leases := t.TempDir()
	config := filepath.Join(t.TempDir(), "own.conflist")
	write(t, config, `{"cniVersion": "0.4.0", "name": "own", "plugins": [{"type": "ptp", "ipMasq": true, "ipam":
		{"type": "host-local", "subnet": "198.18.7.0/24", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "`+leases+`"}}]}`)
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Runtime: testRuntime(), NetworkConfig: config})
	must(t, err)
	stdout, stderr, _ := output(t, host, privateStep(t, "ip -4 -o addr show eth0 | grep -o '198.18.7.[0-9]*/24'"))
	if stdout != "198.18.7.2/24\n" {
		t.Errorf("output %q, %q", stdout, stderr)
	}
	must(t, host.Close())
	if left, err := filepath.Glob(leases + "/own/198*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: leases %v, %v", left, err)
	}
}

func TestNetworkThatCannotBeMadeLeavesNothing(t *testing.T) {
	host := openHost(t)
	link := "step-" + host.ID()
	must(t, exec.Command("ip", "link", "add", link, "type", "bridge").Run()) // the name that the run needs
	_, err := runStep(t, host, privateStep(t, "true"), func(*sandbox.Sandbox) { t.Error("prepared") })
	if err == nil || !strings.Contains(err.Error(), "private network: make the link "+link) {
		t.Errorf("got %v", err)
	}
	checkGone(t, []string{link, "stepexec-" + host.ID(), host.ID() + "/private/+network"})
}

func TestCloseTellsOnceNothingIsLeft(t *testing.T) {
	var traces []string
	var dir string
	told := 0
	gone := func() {
		told++
		checkGone(t, traces)
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the run's directory: %v", err)
		}
	}
	root := t.TempDir()
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime(), Gone: gone})
	must(t, err)
	must(t, host.MakeNetwork(t.Context()))
	dir = filepath.Join(root, "runs", host.ID())
	if !rootless.InNamespace() { // without root there is nothing on the host
		traces = networkTraces(t, host.ID())
	}
	must(t, host.Close())
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestNextRunTakesAwayTheNetworkOfOneThatDied(t *testing.T) {
	root := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestDieWhileAStepRuns$")
	child.Env = append(os.Environ(), "SANDBOX_DIE_IN="+root, "SANDBOX_ROOTFS="+busybox(t), "SANDBOX_DIE_NETWORK=private")
	out, err := child.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("about to die")) {
		t.Fatalf("child: %v: %s", err, out)
	}
	runs, err := os.ReadDir(filepath.Join(root, "runs"))
	must(t, err)
	traces := networkTraces(t, runs[0].Name())
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime()})
	must(t, err)
	must(t, host.Leftovers())
	must(t, host.Close())
	checkGone(t, traces)
}
