package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/stepexec/stepexec/crash"
)

const (
	upstreamTimeout = 3 * time.Second // of one question to one server
	answerTimeout   = 8 * time.Second // of all of them together
	maxQuestions    = 256             // that are answered at once
	bareSize        = 1232            // bytes of an answer to a question of a step with a list (DNS flag day 2020)
	localTTL        = 5               // seconds that a container may keep a name of the run
)

// resolver is the name server of a run, at the router's address. It answers
// for the run's own names and asks the host's name servers for all others:
// from the host's network, so that servers on its loopback answer as well.
type resolver struct {
	servers   []*dns.Server
	ended     chan error
	answering crash.Group   // keeps panics of those who answer
	asking    chan struct{} // holds a place for every question that is being answered
	upstreams []string      // addresses with ports
	stop      context.CancelFunc
	running   context.Context

	namespace *os.File // of the router, where the servers of a step's own are asked
	book      book
}

// book is what the resolver needs to know of the run.
type book interface {
	find(name string) (Addresses, bool)       // of the run's own names
	nameOf(address netip.Addr) (string, bool) // the same backwards
	client(from netip.Addr) *Endpoint         // who asks; nil: nobody of the run
}

// startResolver listens on an address of the router's namespace.
func startResolver(namespace *os.File, at netip.Addr, upstreams []string, b book) (*resolver, error) {
	r := &resolver{ended: make(chan error, 2), asking: make(chan struct{}, maxQuestions), upstreams: upstreams, namespace: namespace, book: b}
	address := net.JoinHostPort(at.String(), "53")
	var packets net.PacketConn
	var listener net.Listener
	err := inside(namespace, func() (err error) {
		if packets, err = net.ListenPacket("udp4", address); err != nil {
			return err
		}
		if listener, err = net.Listen("tcp4", address); err != nil {
			err = errors.Join(err, packets.Close())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start the run's name server: %w", err)
	}
	r.running, r.stop = context.WithCancel(context.Background())
	r.servers = []*dns.Server{{PacketConn: packets, Handler: r}, {Listener: listener, Handler: r}}
	for _, server := range r.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { // ends with close
			var err error
			defer func() { r.ended <- err }()
			defer crash.Recover(&err)
			err = server.ActivateAndServe()
		}()
		select {
		case <-started:
		case err := <-r.ended: // a socket that was just opened cannot be served
			r.ended <- err
		}
	}
	return r, nil
}

// close ends the server and the questions that it still asks.
func (r *resolver) close() error {
	if r == nil {
		return nil
	}
	r.stop()
	var failed []error
	for _, server := range r.servers {
		failed = append(failed, server.Shutdown())
	}
	for range r.servers {
		if err := <-r.ended; err != nil && !errors.Is(err, net.ErrClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(append(failed, r.answering.Wait())...)
}

// ServeDNS answers one question. A panic fails the run at its end, and this question now.
func (r *resolver) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	err := crash.Catch(func() { r.serve(w, question) })
	if err != nil {
		r.answering.Note(err)
		r.reply(w, failure(question, dns.RcodeServerFailure))
	}
}

func (r *resolver) serve(w dns.ResponseWriter, question *dns.Msg) {
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	default:
		r.reply(w, failure(question, dns.RcodeServerFailure))
		return
	}
	client := r.book.client(addressOf(w.RemoteAddr()))
	if client == nil || len(question.Question) != 1 || question.Opcode != dns.OpcodeQuery {
		r.reply(w, failure(question, dns.RcodeRefused))
		return
	}
	r.reply(w, r.answer(client, question, w.RemoteAddr().Network() == "tcp"))
}

func (r *resolver) reply(w dns.ResponseWriter, answer *dns.Msg) {
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if o := answer.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
		answer.Truncate(size)
	}
	_ = w.WriteMsg(answer) // whoever has asked may have gone
}

func addressOf(a net.Addr) netip.Addr {
	address, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}

func failure(question *dns.Msg, code int) *dns.Msg {
	return new(dns.Msg).SetRcode(question, code)
}

func (r *resolver) answer(client *Endpoint, question *dns.Msg, overTCP bool) *dns.Msg {
	asked := question.Question[0]
	name := strings.ToLower(strings.TrimSuffix(asked.Name, "."))
	if local := r.local(question, name); local != nil {
		return local
	}
	rules, why := client.mayAsk(name)
	if why != "" {
		client.refusedName(name, why)
		return failure(question, dns.RcodeNameError)
	}
	if client.limited() && asked.Qtype != dns.TypeA && asked.Qtype != dns.TypeAAAA {
		return failure(question, dns.RcodeSuccess) // other records could carry addresses, or anything else
	}
	answer, err := r.ask(client, question, overTCP)
	if err != nil {
		return failure(question, dns.RcodeServerFailure)
	}
	if err := client.learn(name, rules, answer); err != nil {
		return failure(question, dns.RcodeServerFailure) // it could not be reached
	}
	return answer
}

// local answers a question about a name or an address of the run. It returns nil for any other question.
func (r *resolver) local(question *dns.Msg, name string) *dns.Msg {
	asked := question.Question[0]
	answer := new(dns.Msg).SetReply(question)
	answer.RecursionAvailable = true
	header := dns.RR_Header{Name: asked.Name, Class: dns.ClassINET, Rrtype: asked.Qtype, Ttl: localTTL}
	if a, ok := r.book.find(name); ok {
		switch asked.Qtype {
		case dns.TypeA:
			answer.Answer = []dns.RR{&dns.A{Hdr: header, A: a.V4.AsSlice()}}
		case dns.TypeAAAA:
			answer.Answer = []dns.RR{&dns.AAAA{Hdr: header, AAAA: a.V6.AsSlice()}}
		}
		return answer
	}
	if asked.Qtype != dns.TypePTR {
		return nil
	}
	if of, ok := r.book.nameOf(reversed(name)); ok {
		answer.Answer = []dns.RR{&dns.PTR{Hdr: header, Ptr: dns.Fqdn(of)}}
		return answer
	}
	return nil
}

// reversed is the address that a name below in-addr.arpa or ip6.arpa stands for.
func reversed(name string) netip.Addr {
	labels := strings.Split(name, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	var text string
	switch {
	case len(labels) == 6 && labels[1] == "in-addr":
		text = strings.Join(labels[2:], ".")
	case len(labels) == 34 && labels[1] == "ip6":
		for i := 2; i < 34; i += 4 {
			text += ":" + strings.Join(labels[i:i+4], "")
		}
		text = text[1:]
	}
	address, _ := netip.ParseAddr(text) // none: the zero address, which nobody has
	return address
}

var errNoUpstream = errors.New("no name server is known")

// ask asks one server after the other. The step's own ones are asked from the
// run's network: they may be reachable there only, and must not lead to the
// loopback of the host.
func (r *resolver) ask(client *Endpoint, question *dns.Msg, overTCP bool) (*dns.Msg, error) {
	servers, own := r.upstreams, false
	if len(client.servers) > 0 {
		servers, own = client.servers, true
	}
	ctx, cancel := context.WithTimeout(r.running, answerTimeout)
	defer cancel()
	failed := []error{}
	for range 2 {
		for _, server := range servers {
			answer, err := r.askOne(ctx, server, question, overTCP, own, client.limited())
			if err == nil && answer.Rcode != dns.RcodeServerFailure && answer.Rcode != dns.RcodeRefused {
				return answer, nil
			}
			if err == nil {
				err = fmt.Errorf("%s answers %s", server, dns.RcodeToString[answer.Rcode])
			}
			if failed = append(failed, err); ctx.Err() != nil {
				return nil, errors.Join(failed...)
			}
		}
	}
	if len(failed) == 0 {
		return nil, errNoUpstream
	}
	return nil, errors.Join(failed...)
}

func (r *resolver) askOne(ctx context.Context, server string, question *dns.Msg, overTCP, own, limited bool) (answer *dns.Msg, err error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	client := &dns.Client{Net: "udp", Timeout: upstreamTimeout, UDPSize: dns.MaxMsgSize}
	if overTCP {
		client.Net = "tcp"
	}
	var conn *dns.Conn
	dial := func() (err error) {
		conn, err = client.DialContext(ctx, server)
		return err
	}
	if own {
		err = inside(r.namespace, dial)
	} else {
		err = dial()
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	query := question.Copy() // with an identity of its own, which nobody in the run knows
	if limited {
		query = bare(question)
	}
	query.Id = dns.Id()
	answer, _, err = client.ExchangeWithConnContext(ctx, query, conn)
	if err != nil {
		return nil, err
	}
	answer.Id, answer.Question = question.Id, question.Question
	return answer, nil
}

// bare is a question as anybody would ask it: the case of letters, options and further records, which
// name servers pass on, could carry data out under a name of the list.
func bare(question *dns.Msg) *dns.Msg {
	asked := question.Question[0]
	query := new(dns.Msg).SetQuestion(strings.ToLower(asked.Name), asked.Qtype)
	if o := question.IsEdns0(); o != nil {
		query.SetEdns0(bareSize, false)
	}
	return query
}
