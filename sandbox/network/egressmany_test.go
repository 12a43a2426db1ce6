package network_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/sandbox/network"
)

// many are more than a socket of nftables has room for answers to.
const many = 700

// within fails the test if f takes forever. The networks of a test that failed so cannot be taken away.
func within(t *testing.T, what string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(2 * time.Minute):
		panic(what + ": still not done after two minutes")
	}
}

func TestNameWithManyAddressesIsAnswered(t *testing.T) {
	needRoot(t)
	z := worldWithNames(t)
	records := []string{"60 IN A 198.51.100.3", "60 IN A 198.51.100.3"}
	for i := range many {
		records = append(records, fmt.Sprintf("60 IN A 203.0.%d.%d", i/250, i%250+1))
	}
	z.add(map[string][]string{"many.example.com. A": records})
	n := run(t, "caaaaaaaaa", servers)
	c, _ := limited(t, n, egress.Deny, "many.example.com:443", "many.example.com:80", "*.example.com:5432", "api.example.com")
	within(t, "ask twice for a name with many addresses", func() error {
		for range 2 {
			if got := strings.Fields(c.lookup(t, n, "many.example.com")); len(got) < many {
				return fmt.Errorf("answered %s", got)
			}
		}
		return nil
	})
	for address, want := range map[string]string{"198.51.100.3:443": "hello", "198.51.100.3:5432": "hello", "198.51.100.3:853": "refused"} {
		if got := c.call(address); got != want && got != want+" to 198.51.100.1" {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if got := c.lookup(t, n, "api.example.com"); got != "198.51.100.2 2001:db8::2" && got != "2001:db8::2 198.51.100.2" {
		t.Errorf("the next name: %q", got)
	}
}

func TestListHasManyNetworks(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "caaaaaaaab", servers)
	rules := egress.Rules{Mode: egress.Deny}
	for i := range many {
		address := netip.AddrFrom4([4]byte{203, byte(i / 250), byte(i % 250), 1})
		rules.List = append(rules.List, egress.Rule{Prefix: netip.PrefixFrom(address, 32), Port: 443})
	}
	rules.List = append(rules.List, egress.Rule{Prefix: netip.MustParsePrefix("198.51.100.3/32"), Port: 80})
	c := &container{namespace: newNamespace(t)}
	within(t, "join with a long list", func() (err error) {
		c.Endpoint, err = n.Join(network.Member{Egress: rules})
		return err
	})
	must(t, c.Plug(c.namespace))
	defer func() { must(t, c.Leave()) }()
	for address, want := range map[string]string{"198.51.100.3:80": "hello to 198.51.100.1", "198.51.100.3:443": "refused", "198.51.100.2:80": "refused"} {
		if got := c.call(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestContainerWithManyDestinationsLeaves(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "caaaaaaaac", servers)
	service := join(t, n, network.Member{Names: []string{"db"}})
	e, err := n.Join(network.Member{Egress: egress.Rules{Mode: egress.Audit}})
	must(t, err)
	namespace := newNamespace(t)
	must(t, e.Plug(namespace))
	must(t, in(namespace, func() error {
		for _, to := range []string{"198.51.100.2", "2001:db8::2", service.V4.String(), service.V6.String()} {
			for port := 1000; port < 1000+many; port++ {
				conn, err := net.Dial("udp", net.JoinHostPort(to, fmt.Sprint(port)))
				if err != nil {
					return err
				}
				if _, err := conn.Write([]byte("hello")); err != nil {
					return err
				}
				conn.Close()
			}
		}
		return nil
	}))
	within(t, "leave", e.Leave)
	list, err := e.Connections()
	must(t, err)
	counted := 0
	for _, c := range list {
		if c.Sent > 0 {
			counted++
		}
	}
	if counted < many {
		t.Errorf("%d of %d connections, of %d that were told, have bytes", counted, 4*many, len(list))
	}
	next := join(t, n, network.Member{Egress: egress.Rules{Mode: egress.Audit}})
	if got := next.call("198.51.100.2:80"); got != "hello to 198.51.100.1" {
		t.Errorf("whoever comes next: %q", got)
	}
}

func TestConnectionHasAllNamesOfItsAddress(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "caaaaaaaae", servers)
	c, _ := limited(t, n, egress.Audit)
	for _, name := range []string{"other.example.com", "cdn.example.com", "other.example.com"} {
		c.lookup(t, n, name)
		if got := c.call("198.51.100.3:80"); got != "hello to 198.51.100.1" {
			t.Errorf("%s: %q", name, got)
		}
	}
	list, err := c.Connections()
	must(t, err)
	if len(list) != 1 || list[0].Name != "other.example.com" || !slices.Equal(list[0].Also, []string{"cdn.example.com"}) {
		t.Errorf("got %+v, want one connection with both names", list)
	}
}
