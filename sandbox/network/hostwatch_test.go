package network_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/sandbox/network"
)

// Without root nothing on the host keeps it closed: the router does, whatever a list has.
func TestHostStaysClosedWithoutATableOnIt(t *testing.T) {
	needRoot(t)
	shell(t, `ip link add fake type veth peer name inside; ip addr add 192.0.2.1/24 dev fake; ip link set fake up; ip addr add 10.99.0.1/32 dev lo`)
	t.Cleanup(func() { shell(t, "ip link del fake; ip addr del 10.99.0.1/32 dev lo; ip addr del 10.99.0.2/32 dev lo") })
	serve(t, nil, ":7777", "host")
	n := network.New(network.Options{Run: "caaaaaaaad", Dir: filepath.Join(t.TempDir(), "network"), Connect: func(namespace string) (func() error, error) {
		err := runShell(`ip link set inside netns ` + namespace + `; nsenter --net=` + namespace + ` sh -ec "
			ip link set inside name uplink; ip addr add 192.0.2.2/24 dev uplink; ip link set uplink up; ip route add default via 192.0.2.1"`)
		return func() error { return nil }, err
	}})
	must(t, n.Up(t.Context()))
	t.Cleanup(func() { must(t, n.Down()) })
	open := join(t, n, network.Member{})
	listed, refused := limited(t, n, egress.Deny, "192.0.2.1", "10.99.0.1:7777", "10.0.0.0/8", "10.99.0.2")
	for _, address := range []string{"192.0.2.1:7777", "10.99.0.1:7777"} {
		for who, c := range map[string]*container{"without rules": open, "with the address in its list": listed} {
			if got := c.call(address); got != "refused" {
				t.Errorf("%s: %s: %q", address, who, got)
			}
		}
		if r := next(t, refused); !strings.Contains(r.Why, "are closed") || r.Allow != "" {
			t.Errorf("%s: told %+v", address, r)
		}
	}
	if got := listed.call("10.99.0.2:7777"); strings.HasPrefix(got, "host") {
		t.Fatalf("nobody has the address so far: %q", got)
	}
	shell(t, "ip addr add 10.99.0.2/32 dev lo")
	until(t, "an address that the host has got is closed", func() bool {
		return open.call("10.99.0.2:7777") == "refused" && listed.call("10.99.0.2:7777") == "refused"
	})
}
