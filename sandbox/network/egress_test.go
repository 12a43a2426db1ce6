package network_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/sandbox/network"
)

// zone is a name server of the world: records by name and type.
type zone struct {
	mu      sync.Mutex
	records map[string][]string // "NAME TYPE" to records, as in a zone file
	asked   []string
	last    *dns.Msg
}

func (z *zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	answer := new(dns.Msg).SetReply(question)
	name := strings.ToLower(question.Question[0].Name)
	kind := dns.TypeToString[question.Question[0].Qtype]
	z.asked, z.last = append(z.asked, name+" "+kind), question
	for {
		records, known := z.records[name+" "+kind]
		if cname := z.records[name+" CNAME"]; !known && len(cname) > 0 {
			rr, _ := dns.NewRR(name + " " + cname[0])
			answer.Answer = append(answer.Answer, rr)
			name = rr.(*dns.CNAME).Target
			continue
		}
		for _, text := range records {
			rr, err := dns.NewRR(name + " " + text)
			if err == nil {
				answer.Answer = append(answer.Answer, rr)
			}
		}
		break
	}
	if len(answer.Answer) == 0 {
		answer.Rcode = dns.RcodeNameError
	}
	if w.RemoteAddr().Network() == "udp" {
		answer.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(answer)
}

// nameServer serves a zone in a namespace.
func nameServer(t *testing.T, namespace *os.File, address string, z *zone) {
	t.Helper()
	var packets net.PacketConn
	var listener net.Listener
	must(t, in(namespace, func() (err error) {
		var listenErr error
		packets, err = net.ListenPacket("udp", address+":53")
		listener, listenErr = net.Listen("tcp", address+":53")
		return errors.Join(err, listenErr)
	}))
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z}} {
		go func() { _ = server.ActivateAndServe() }()
		t.Cleanup(func() { _ = server.Shutdown() })
	}
}

// limited joins as a container that reaches what a list has, and returns what
// it is refused, as it comes.
func limited(t *testing.T, n *network.Bridged, mode egress.Mode, list ...string) (*container, chan network.Refusal) {
	t.Helper()
	rules, err := egress.ParseList(list)
	must(t, err)
	refused := make(chan network.Refusal, 1000)
	c := join(t, n, network.Member{Egress: egress.Rules{Mode: mode, List: rules}, Refused: func(r network.Refusal) { refused <- r }})
	return c, refused
}

func next(t *testing.T, refused chan network.Refusal) network.Refusal {
	t.Helper()
	select {
	case r := <-refused:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told of a refusal")
		return network.Refusal{}
	}
}

func worldWithNames(t *testing.T) *zone {
	outside := world(t)
	z := &zone{records: map[string][]string{
		"api.example.com. A":        {"60 IN A 198.51.100.2"},
		"api.example.com. AAAA":     {"60 IN AAAA 2001:db8::2"},
		"cdn.example.com. CNAME":    {"60 IN CNAME edge.example.net."},
		"edge.example.net. A":       {"1 IN A 198.51.100.3"},
		"a.b.golang.org. A":         {"60 IN A 198.51.100.3"},
		"rebind.example.com. A":     {"60 IN A 169.254.169.254"},
		"api.example.com. TXT":      {`60 IN TXT "x"`},
		"other.example.com. A":      {"60 IN A 198.51.100.3"},
		"sneaky.example.com. HTTPS": {`60 IN HTTPS 1 . ipv4hint="198.51.100.3"`},
	}}
	nameServer(t, outside, "198.51.100.2", z)
	nameServer(t, outside, "198.51.100.3", z)
	for _, port := range []string{":80", ":443", ":853", ":5432"} {
		serve(t, outside, port, "hello")
	}
	for _, address := range []string{"198.51.100.2:7000", "198.51.100.3:7000"} {
		packets, done := echo(t, outside, address)
		t.Cleanup(func() { packets.Close(); <-done })
	}
	return z
}

const servers = "198.51.100.2"

func TestListedNamesAndNetworksAreReachedAndNothingElse(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "baaaaaaaaa", servers)
	c, refused := limited(t, n, egress.Deny, "api.example.com:443", "cdn.example.com", "*.golang.org:80", "198.51.100.0/24:5432")
	steps := []struct{ lookup, call, want string }{
		{"", "198.51.100.2:443", "refused"}, // no name asked for it yet
		{"api.example.com", "198.51.100.2:443", "hello"},
		{"", "[2001:db8::2]:443", "hello"},
		{"", "198.51.100.2:80", "refused"},
		{"", "198.51.100.3:443", "refused"},
		{"a.b.golang.org", "198.51.100.3:80", "hello"},
		{"", "198.51.100.3:443", "refused"},
		{"cdn.example.com", "198.51.100.3:443", "hello"},
		{"", "198.51.100.3:5432", "hello"},
		{"", "169.254.169.254:80", "refused"},
		{"other.example.com", "", "none"},
		{"golang.org", "", "none"},
		{"notgolang.org", "", "none"},
	}
	for _, s := range steps {
		if s.lookup != "" {
			got := c.lookup(t, n, s.lookup)
			if s.call == "" && got != s.want || s.call != "" && got == "none" {
				t.Errorf("%s: %q", s.lookup, got)
			}
		}
		if s.call == "" {
			continue
		}
		if got := c.call(s.call); !strings.HasPrefix(got, s.want) {
			t.Errorf("%s after %q: %q, want %s", s.call, s.lookup, got, s.want)
		}
	}
	r := next(t, refused)
	if r.To.String() != "198.51.100.2:443" || r.Why != "no name asked for it" || r.Allow != "198.51.100.2:443" || r.Protocol != "tcp" {
		t.Errorf("first refusal %+v", r)
	}
	if r = next(t, refused); r.Allow != "api.example.com:80" {
		t.Errorf("a port that the list lacks: %+v", r)
	}
}

func TestNamesDoNotOpenClosedAddresses(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "baaaaaaaab", servers)
	c, _ := limited(t, n, egress.Deny, "rebind.example.com", "0.0.0.0/0")
	if got := c.lookup(t, n, "rebind.example.com"); got != "169.254.169.254" {
		t.Errorf("lookup: %q", got)
	}
	for _, address := range []string{"169.254.169.254:80", "198.51.100.1:22"} {
		if got := c.call(address); got != "refused" {
			t.Errorf("%s: %q", address, got)
		}
	}
	pinned, _ := limited(t, n, egress.Deny, "169.254.169.254:80")
	if got := pinned.call("169.254.169.254:80"); !strings.HasPrefix(got, "hello") {
		t.Errorf("an address that the list names: %q", got)
	}
}

func TestStepsWithDifferentListsDoNotShareThem(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "baaaaaaaac", servers)
	one, _ := limited(t, n, egress.Deny, "api.example.com")
	two, _ := limited(t, n, egress.Deny, "cdn.example.com")
	free := join(t, n, network.Member{})
	one.lookup(t, n, "api.example.com")
	two.lookup(t, n, "cdn.example.com")
	for _, test := range []struct {
		c    *container
		want [2]string
	}{{one, [2]string{"hello", "refused"}}, {two, [2]string{"refused", "hello"}}, {free, [2]string{"hello", "hello"}}} {
		for i, address := range []string{"198.51.100.2:443", "198.51.100.3:443"} {
			if got := test.c.call(address); !strings.HasPrefix(got, test.want[i]) {
				t.Errorf("%s to %s: %q", test.c.V4, address, got)
			}
		}
	}
	// One that takes the other's address is not heard at all.
	must(t, in(one.namespace, func() error {
		shell := fmt.Sprintf("ip addr add %s/24 dev eth0; ip route replace default via %s dev eth0 src %s", free.V4, n.Router().V4, free.V4)
		return runShell(shell)
	}))
	if got := one.call("198.51.100.3:443"); strings.HasPrefix(got, "hello") {
		t.Errorf("with another container's address: %q", got)
	}
}

func TestOtherNameServersAreRefused(t *testing.T) {
	needRoot(t)
	z := worldWithNames(t)
	n := run(t, "baaaaaaaad", servers)
	c, refused := limited(t, n, egress.Deny, "api.example.com:443")
	var err error
	must(t, in(c.namespace, func() error {
		question := new(dns.Msg).SetQuestion("api.example.com.", dns.TypeA)
		_, _, err = (&dns.Client{Timeout: 2 * time.Second}).Exchange(question, "198.51.100.3:53")
		return nil
	}))
	if err == nil {
		t.Error("another name server answered")
	}
	if r := next(t, refused); r.To.String() != "198.51.100.3:53" || r.Protocol != "udp" {
		t.Errorf("refusal %+v", r)
	}
	// Records but addresses, and long names below a domain, carry data.
	for _, kind := range []uint16{dns.TypeTXT, dns.TypeHTTPS} {
		must(t, in(c.namespace, func() error {
			question := new(dns.Msg).SetQuestion("api.example.com.", kind)
			answer, _, err := new(dns.Client).Exchange(question, n.Router().V4.String()+":53")
			if err == nil && len(answer.Answer) > 0 {
				t.Errorf("%s: %v", dns.TypeToString[kind], answer.Answer)
			}
			return err
		}))
	}
	wild, refused := limited(t, n, egress.Deny, "*.example.com")
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".example.com"
	if got := wild.lookup(t, n, long); got != "none" {
		t.Errorf("a long name: %q", got)
	}
	if r := next(t, refused); r.Name != long || !strings.Contains(r.Why, "120 characters") {
		t.Errorf("refusal %+v", r)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if slices.ContainsFunc(z.asked, func(q string) bool { return strings.HasPrefix(q, long) || strings.HasSuffix(q, "TXT") }) {
		t.Errorf("the world was asked: %q", z.asked)
	}
}

func TestAuditRefusesNothingAndRecordsAll(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	n := run(t, "baaaaaaaae", servers)
	e, err := n.Join(network.Member{Egress: egress.Rules{Mode: egress.Audit}})
	must(t, err)
	c := &container{Endpoint: e, namespace: newNamespace(t)}
	must(t, e.Plug(c.namespace))
	c.lookup(t, n, "api.example.com")
	for _, address := range []string{"198.51.100.2:443", "198.51.100.3:80", "198.51.100.2:443", "[2001:db8::2]:80"} {
		if got := c.call(address); !strings.HasPrefix(got, "hello") {
			t.Errorf("%s: %q", address, got)
		}
	}
	if got := c.call("169.254.169.254:80"); got != "refused" {
		t.Errorf("metadata: %q", got)
	}
	list, err := e.Connections()
	must(t, err)
	must(t, e.Leave())
	var got []string
	for _, c := range list {
		got = append(got, fmt.Sprintf("%s %s:%d/%s refused=%v bytes=%v", c.Name, c.Address, c.Port, c.Protocol, c.Refused, c.Sent > 100 && c.Got > 100))
		if c.First.IsZero() || c.Last.Before(c.First) {
			t.Errorf("times of %+v", c)
		}
	}
	want := []string{
		"api.example.com 198.51.100.2:443/tcp refused=false bytes=true",
		" 198.51.100.3:80/tcp refused=false bytes=true",
		"api.example.com 2001:db8::2:80/tcp refused=false bytes=true",
		" 169.254.169.254:80/tcp refused=true bytes=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTrafficAmongContainersAndToTheHostIsAuditedByItself(t *testing.T) {
	needRoot(t)
	worldWithNames(t)
	serve(t, nil, ":8080", "host")
	n := run(t, "baaaaaaaaf", servers)
	service := join(t, n, network.Member{Names: []string{"db"}, Egress: egress.Rules{Mode: egress.Audit}})
	serve(t, service.namespace, ":80", "hello")
	packets, done := echo(t, service.namespace, ":7")
	e, err := n.Join(network.Member{Names: []string{"step"}, Gateway: true, Egress: egress.Rules{Mode: egress.Deny}})
	must(t, err)
	step := &container{Endpoint: e, namespace: newNamespace(t)}
	must(t, e.Plug(step.namespace))
	gateway, err := n.HostGateway()
	must(t, err)
	for address, want := range map[string]string{
		net.JoinHostPort(service.V4.String(), "80"):   "hello",
		net.JoinHostPort(service.V6.String(), "80"):   "hello",
		net.JoinHostPort(gateway.V4.String(), "8080"): "host",
		"198.51.100.1:22":   "refused",
		"198.51.100.2:80":   "refused",
		"169.254.169.254:1": "refused",
	} {
		if got := step.call(address); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	must(t, in(step.namespace, func() error {
		for range 2 {
			if err := ask(netip.AddrPortFrom(service.V4, 7)); err != nil {
				return err
			}
		}
		return nil
	}))
	want := []string{
		"host 198.51.100.1:22/tcp refused=true bytes=false",
		fmt.Sprintf("host %s:8080/tcp refused=false bytes=true", gateway.V4),
		"service db " + service.V4.String() + ":7/udp refused=false bytes=true",
		"service db " + service.V4.String() + ":80/tcp refused=false bytes=true",
		"service db [" + service.V6.String() + "]:80/tcp refused=false bytes=true",
		"world 169.254.169.254:1/tcp refused=true bytes=false",
		"world 198.51.100.2:80/tcp refused=true bytes=false",
	}
	slices.Sort(want)
	got := described(t, e)
	must(t, packets.Close())
	<-done
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Who is called has begun nothing.
	if list, err := service.Connections(); err != nil || len(list) > 0 {
		t.Errorf("connections of the service: %+v, %v", list, err)
	}
	must(t, e.Leave())
}

// A container that takes over the address of an ended one, as the next attempt of a step does, is
// audited by itself.
func TestConnectionsOfAnEndedContainerAreForgotten(t *testing.T) {
	needRoot(t)
	n := run(t, "baaaaaaaag", servers)
	service := join(t, n, network.Member{Names: []string{"db"}})
	packets, done := echo(t, service.namespace, ":7")
	_, err := n.Pin("step")
	must(t, err)
	for range 2 {
		e, err := n.Join(network.Member{Names: []string{"step"}, Egress: egress.Rules{Mode: egress.Audit}})
		must(t, err)
		step := &container{Endpoint: e, namespace: newNamespace(t)}
		must(t, e.Plug(step.namespace))
		must(t, in(step.namespace, func() error {
			for _, address := range []netip.Addr{service.V4, service.V6} {
				if err := ask(netip.AddrPortFrom(address, 7)); err != nil {
					return err
				}
			}
			return nil
		}))
		want := []string{
			"service db " + service.V4.String() + ":7/udp refused=false bytes=true",
			"service db [" + service.V6.String() + "]:7/udp refused=false bytes=true",
		}
		got := described(t, e)
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		must(t, step.namespace.Close())
		must(t, e.Leave())
	}
	must(t, packets.Close())
	<-done
}

// ask sends a UDP packet until there is an answer: the network may lose some.
func ask(address netip.AddrPort) error {
	conn, err := net.Dial("udp", address.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 60 {
		if _, err := conn.Write(make([]byte, 100)); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return fmt.Errorf("waited a minute for an answer by UDP from %v", address)
}

// echo answers UDP packets in a namespace until it is closed.
func echo(t *testing.T, namespace *os.File, address string) (packets net.PacketConn, done chan struct{}) {
	t.Helper()
	must(t, in(namespace, func() (err error) {
		packets, err = net.ListenPacket("udp", address)
		return err
	}))
	done = make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 100)
		for {
			size, from, err := packets.ReadFrom(packet)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(packet[:size], from)
		}
	}()
	return packets, done
}

// described describes the recorded connections.
func described(t *testing.T, e *network.Endpoint) []string {
	t.Helper()
	list, err := e.Connections()
	must(t, err)
	return textsOf(list)
}

func textsOf(list []network.Connection) []string {
	var texts []string
	for _, c := range list {
		kind := string(c.Kind)
		if c.Kind == network.ToWorld {
			kind = "world"
		}
		text := kind
		if c.Name != "" {
			text += " " + c.Name
		}
		texts = append(texts, fmt.Sprintf("%s %s/%s refused=%v bytes=%v", text, netip.AddrPortFrom(c.Address, c.Port), c.Protocol, c.Refused, c.Sent > 60 && c.Got > 60))
	}
	slices.Sort(texts)
	return texts
}
