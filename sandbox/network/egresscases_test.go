package network_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/sandbox/network"
)

// The table of docs/network.md: what a step with a list tries, and what becomes of it. Name
// servers and servers are real ones, in a namespace that stands for the world.
func TestEgressCases(t *testing.T) {
	needRoot(t)
	z := worldWithNames(t)
	z.add(map[string][]string{
		"chain.example.com. CNAME": {"60 IN CNAME one.example.net."},
		"one.example.net. CNAME":   {"60 IN CNAME two.example.org."},
		"two.example.org. A":       {"60 IN A 198.51.100.3"},
		"short.example.com. A":     {"0 IN A 198.51.100.3"},
		"host.example.com. A":      {"60 IN A 198.51.100.1"},
		"six.example.com. AAAA":    {"60 IN AAAA 2001:db8::2"},
	})
	const allowance = 300 * time.Millisecond
	n := network.New(network.Options{Run: "baaaaaaaag", Dir: filepath.Join(t.TempDir(), "network"), Servers: []string{servers}, Allowance: allowance})
	must(t, n.Up(t.Context()))
	t.Cleanup(func() { must(t, n.Down()) })
	asks := func(name string, then ...string) func(t *testing.T, c *container) string {
		return func(t *testing.T, c *container) string {
			if got := c.lookup(t, n, name); got == "none" {
				return "no such name"
			}
			got := "found"
			for _, address := range then {
				got = c.call(address)
			}
			return got
		}
	}
	calls := func(address string) func(t *testing.T, c *container) string {
		return func(_ *testing.T, c *container) string { return c.call(address) }
	}
	question := func(server string, over string, kind uint16, name string) func(t *testing.T, c *container) string {
		return func(_ *testing.T, c *container) string { return c.ask(over, server, kind, name) }
	}
	tests := []struct {
		name string
		list []string
		try  func(t *testing.T, c *container) string
		want string
		why  string // of what the step is told; "": nothing
	}{
		{"a name and its port", []string{"api.example.com:443"}, asks("api.example.com", "198.51.100.2:443"), "hello", ""},
		{"another port of it", []string{"api.example.com:443"}, asks("api.example.com", "198.51.100.2:80"), "refused", "the list lacks the port"},
		{"a name of which the list has every port", []string{"api.example.com"}, asks("api.example.com", "198.51.100.2:80"), "hello", ""},
		{"a name that the list lacks", []string{"api.example.com"}, asks("other.example.com"), "no such name", "the list lacks it"},
		{"a name below *.DOMAIN", []string{"*.golang.org"}, asks("a.b.golang.org", "198.51.100.3:80"), "hello", ""},
		{"the DOMAIN of *.DOMAIN", []string{"*.golang.org"}, asks("golang.org"), "no such name", "the list lacks it"},
		{"a chain of CNAMEs", []string{"chain.example.com:443"}, asks("chain.example.com", "198.51.100.3:443"), "hello", ""},
		{"the last name of the chain", []string{"chain.example.com:443"}, asks("two.example.org"), "no such name", "the list lacks it"},
		{"IPv6 by name", []string{"six.example.com:80"}, asks("six.example.com", "[2001:db8::2]:80"), "hello", ""},
		{"an IPv6 address that no answer gave", []string{"six.example.com:80"}, calls("[2001:db8::2]:80"), "refused", "no name asked for it"},
		{"an address that no answer gave", []string{"api.example.com:443"}, calls("198.51.100.3:443"), "refused", "no name asked for it"},
		{"an address of the list", []string{"198.51.100.3:443"}, calls("198.51.100.3:443"), "hello", ""},
		{"a network of the list", []string{"198.51.100.0/24:5432"}, calls("198.51.100.3:5432"), "hello", ""},
		{"UDP by name", []string{"api.example.com:7000"}, func(t *testing.T, c *container) string {
			c.lookup(t, n, "api.example.com")
			return c.callUDP("198.51.100.2:7000")
		}, "hello", ""},
		{"UDP to an address that no answer gave", []string{"api.example.com:7000"}, func(_ *testing.T, c *container) string { return c.callUDP("198.51.100.3:7000") }, "refused", "no name asked for it"},
		{"a short TTL, at once", []string{"short.example.com:443"}, asks("short.example.com", "198.51.100.3:443"), "hello", ""},
		{"an address kept for longer than its TTL", []string{"short.example.com:443"}, func(t *testing.T, c *container) string {
			c.lookup(t, n, "short.example.com")
			until(t, "the answer expires", func() bool { return c.call("198.51.100.3:443") == "refused" })
			return c.call("198.51.100.3:443")
		}, "refused", "whose answer has expired"},
		{"the name asked for again", []string{"short.example.com:443"}, func(t *testing.T, c *container) string {
			c.lookup(t, n, "short.example.com")
			until(t, "the answer expires", func() bool { return c.call("198.51.100.3:443") == "refused" })
			return asks("short.example.com", "198.51.100.3:443")(t, c)
		}, "hello", "whose answer has expired"},
		{"a connection that is open when its answer expires", []string{"short.example.com:7000"}, func(t *testing.T, c *container) string {
			c.lookup(t, n, "short.example.com")
			return c.keepsTalking(t, "198.51.100.3:7000", func() bool { return c.callUDP("198.51.100.3:7000") == "refused" })
		}, "hello", "whose answer has expired"},
		{"a metadata address by name", []string{"rebind.example.com"}, asks("rebind.example.com", "169.254.169.254:80"), "refused", "are closed"},
		{"the host's address by name", []string{"host.example.com"}, asks("host.example.com", "198.51.100.1:22"), "refused", "are closed"},
		{"a metadata address of the list", []string{"169.254.169.254:80"}, calls("169.254.169.254:80"), "hello", ""},
		{"an address of the host in the list", []string{"198.51.100.1"}, calls("198.51.100.1:22"), "refused", "are closed"},
		{"another name server, UDP", []string{"api.example.com"}, question("198.51.100.3:53", "udp", dns.TypeA, "api.example.com."), "refused", "no name asked for it"},
		{"another name server, TCP", []string{"api.example.com"}, question("198.51.100.3:53", "tcp", dns.TypeA, "api.example.com."), "refused", "no name asked for it"},
		{"DNS over TLS", []string{"api.example.com:443"}, calls("198.51.100.3:853"), "refused", "no name asked for it"},
		{"records other than addresses", []string{"api.example.com"}, question("", "udp", dns.TypeTXT, "api.example.com."), "empty", ""},
		{"a name of 121 characters below *.DOMAIN", []string{"*.example.com"}, asks(strings.Repeat("a", 50) + "." + strings.Repeat("b", 58) + ".example.com"), "no such name", "120 characters"},
		{"more than 1000 names below *.DOMAIN", []string{"*.example.com"}, func(t *testing.T, c *container) string {
			for i := range 1000 {
				c.ask("udp", n.Router().V4.String()+":53", dns.TypeA, fmt.Sprintf("n%d.example.com.", i))
			}
			return asks("api.example.com")(t, c)
		}, "no such name", "more than 1000 names"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rules, err := egress.ParseList(test.list)
			must(t, err)
			refused := make(chan network.Refusal, 1000)
			c := join(t, n, network.Member{Egress: egress.Rules{Mode: egress.Deny, List: rules}, Refused: func(r network.Refusal) { refused <- r }})
			c.router = n.Router().V4.String() + ":53"
			if got := test.try(t, c); !strings.HasPrefix(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if test.why == "" {
				if len(refused) > 0 {
					t.Errorf("told of %+v", <-refused)
				}
				return
			}
			if r := next(t, refused); !strings.Contains(r.Why, test.why) {
				t.Errorf("told %q, want %q", r.Why, test.why)
			}
		})
	}
}

// add adds records to a zone.
func (z *zone) add(records map[string][]string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for name, list := range records {
		z.records[name] = list
	}
}

// ask asks a name server, or the run's own, for records.
func (c *container) ask(over, server string, kind uint16, name string) string {
	if server == "" {
		server = c.router
	}
	var answer *dns.Msg
	err := in(c.namespace, func() (err error) {
		answer, _, err = (&dns.Client{Net: over, Timeout: 3 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, kind), server)
		return err
	})
	switch {
	case isRefusal(err):
		return "refused"
	case err != nil:
		return err.Error()
	case len(answer.Answer) == 0:
		return "empty"
	}
	return answer.Answer[0].String()
}

func isRefusal(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES)
}

// callUDP sends a packet to a server that sends it back.
func (c *container) callUDP(address string) string {
	var got string
	err := in(c.namespace, func() error {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err = roundTrip(conn)
		return err
	})
	switch {
	case isRefusal(err):
		return "refused"
	case err != nil:
		return err.Error()
	}
	return got
}

func roundTrip(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return "", err
	}
	answer := make([]byte, 10)
	size, err := conn.Read(answer)
	return string(answer[:size]), err
}

// keepsTalking goes on with a connection once another one is refused.
func (c *container) keepsTalking(t *testing.T, address string, isRefused func() bool) string {
	t.Helper()
	var conn net.Conn
	must(t, in(c.namespace, func() (err error) {
		conn, err = net.Dial("udp", address)
		return err
	}))
	defer conn.Close()
	if got, err := roundTrip(conn); err != nil {
		return got + err.Error()
	}
	until(t, "the answer expires", isRefused)
	got, err := roundTrip(conn)
	if err != nil {
		return err.Error()
	}
	return got
}

func TestQuestionsOfAStepWithAListCarryNothingButTheName(t *testing.T) {
	needRoot(t)
	z := worldWithNames(t)
	n := run(t, "caaaaaaaaf", servers)
	c, _ := limited(t, n, egress.Deny, "api.example.com")
	question := new(dns.Msg).SetQuestion("aPi.EXAMPLE.com.", dns.TypeA).SetEdns0(4096, true)
	question.IsEdns0().Option = append(question.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0LOCALSTART, Data: []byte("secret")})
	question.Extra = append(question.Extra, &dns.TXT{Hdr: dns.RR_Header{Name: "secret.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"secret"}})
	var answer *dns.Msg
	must(t, in(c.namespace, func() (err error) {
		answer, _, err = (&dns.Client{Timeout: 10 * time.Second}).Exchange(question, n.Router().V4.String()+":53")
		return err
	}))
	if len(answer.Answer) != 1 || answer.Question[0].Name != "aPi.EXAMPLE.com." {
		t.Errorf("answered %v", answer)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.last.Question[0].Name != "api.example.com." || len(z.last.Extra) != 1 || len(z.last.IsEdns0().Option) != 0 {
		t.Errorf("the name server was asked %v", z.last)
	}
	if got := c.call("198.51.100.2:443"); got != "hello to 198.51.100.1" {
		t.Errorf("the address: %q", got)
	}
}
