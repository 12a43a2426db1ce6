package sandbox_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/sandbox"
)

// withoutRoot skips a test that is about users without root, but for its run as one.
func withoutRoot(t *testing.T) {
	t.Helper()
	if !rootless.InNamespace() {
		t.Skip("TestRootless runs it")
	}
}

// The router drops packets for loopback addresses: a kernel forwards none.
func TestPacketsThatAStepMakesDoNotReachTheLoopbackOfTheHost(t *testing.T) {
	withoutRoot(t)
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
	if stdout, stderr, _ := output(t, openHost(t), step); stdout != "sent\n" {
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

func TestPublishedPortWithoutRoot(t *testing.T) {
	withoutRoot(t)
	host, port := openHost(t), freePort(t)
	for range 2 { // the port is free again after the step
		step := privateStep(t, "true")
		step.Names.Ports = []sandbox.Port{{Host: port, Container: 5432}}
		_, err := runStep(t, host, step, func(*sandbox.Sandbox) {
			conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
			must(t, err)
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("nobody listens, and %d bytes came: %v", n, err)
			}
			must(t, conn.Close())
		})
		must(t, err)
	}
}

func TestSlirp4netnsIsTakenWherePastaIsNot(t *testing.T) {
	withoutRoot(t)
	bin := t.TempDir()
	for _, program := range []string{"runc", "slirp4netns"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Skip(err)
		}
		must(t, os.Symlink(path, filepath.Join(bin, program)))
	}
	step, other := privateStep(t, "ip -o -4 addr show dev eth0; ip route"), privateStep(t, "true")
	t.Setenv("PATH", bin)
	stdout, stderr, exit := output(t, openHost(t), step)
	if !strings.Contains(stdout, "/24") || !strings.Contains(stdout, "default via ") || exit.Code != 0 {
		t.Errorf("exit code %d, got %q: %s", exit.Code, stdout, stderr)
	}
	must(t, os.Remove(filepath.Join(bin, "slirp4netns")))
	_, err := openHost(t).Prepare(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "apt-get install passt or slirp4netns") {
		t.Errorf("got %v", err)
	}
}

func TestCNIConfigurationNeedsRoot(t *testing.T) {
	withoutRoot(t)
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), NetworkConfig: "/etc/cni/net.d/x.conflist"})
	must(t, err)
	if _, err := host.Prepare(t.Context(), privateStep(t, "true")); err == nil || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("got %v", err)
	}
	must(t, host.Close())
}

func TestLimitsThatAreNotDelegatedAreSaidOnce(t *testing.T) {
	withoutRoot(t)
	var said []string
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: t.TempDir(), Warn: func(line string) { said = append(said, line) }})
	must(t, err)
	for range 2 {
		step := script(t, "true")
		step.Limits.Memory, step.Limits.CPUs = 64<<20, 1
		if _, stderr, exit := output(t, host, step); exit.Code != 0 {
			t.Error(stderr)
		}
	}
	must(t, host.Close())
	if len(said) != 1 || !strings.HasPrefix(said[0], "not limited: cpus, memory: ") {
		t.Errorf("said %q", said)
	}
}
