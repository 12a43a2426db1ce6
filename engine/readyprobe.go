package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/sandbox"
)

// probeDrain bounds how long the output of a probe's program is read after its end, when a
// process that it left running holds the output open.
const probeDrain = 100 * time.Millisecond

// poll repeats a try until it succeeds or ctx ends.
func (rd *readiness) poll(timeout time.Duration, try func(ctx context.Context, box *sandbox.Sandbox) error) func(context.Context, *sandbox.Sandbox) error {
	return func(ctx context.Context, box *sandbox.Sandbox) error {
		ticker := time.NewTicker(rd.interval)
		defer ticker.Stop()
		for {
			trying, cancel := context.WithTimeout(ctx, timeout)
			err := rd.checkOwner(box)
			if err == nil {
				if err = try(trying, box); err == nil {
					err = rd.checkOwner(box) // who answered may just have begun to
				}
			}
			cancel()
			if err == nil {
				return nil
			}
			if !isOver(ctx) || rd.last == nil { // otherwise the end of the time has cut the try off
				rd.last = err
			}
			if ctx.Err() == nil && rd.patience.isOver(time.Now()) {
				return errUnhealthy
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// isOver reports whether a context has ended or its deadline has passed: connections that have the
// same deadline may notice it first.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

func (rd *readiness) tcpProbe(address string) probe {
	host, port, _ := net.SplitHostPort(address) // it is valid: the pipeline's parser made it
	what := "port " + port
	if host != "" {
		what += " of " + host
	}
	p := probe{what: what + " to accept a connection"}
	if at, ok := rd.itself(host); ok {
		p.port, p.at = port, at
	}
	p.wait = rd.poll(tryTimeout, func(ctx context.Context, box *sandbox.Sandbox) error {
		conn, err := rd.dial(ctx, box, address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return p
}

// reason is why a try failed, without what was tried: the caller says that.
func reason(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &op) && op.Err != nil:
		return op.Err
	}
	return err
}

// httpProbe waits for an answer. It neither verifies the certificate, because services in a
// pipeline make their own, nor follows redirects.
func (rd *readiness) httpProbe(address string, status int) probe {
	what := address + " to answer with a status of 200 to 399"
	if status != 0 {
		what = fmt.Sprintf("%s to answer with status %d", address, status)
	}
	p := probe{what: what}
	if u, err := url.Parse(address); err == nil {
		if at, ok := rd.itself(u.Hostname()); ok {
			p.port, p.at = cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]), at
		}
	}
	p.wait = rd.poll(tryTimeout, func(ctx context.Context, box *sandbox.Sandbox) error {
		got, err := rd.get(ctx, box, address)
		if err != nil {
			return err
		}
		if got == status || status == 0 && got >= 200 && got < 400 {
			return nil
		}
		return fmt.Errorf("status %d", got)
	})
	return p
}

func (rd *readiness) get(ctx context.Context, box *sandbox.Sandbox, address string) (status int, err error) {
	client := http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return rd.dial(ctx, box, address)
			},
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// execProbe waits for a program in the step's sandbox to succeed.
func (rd *readiness) execProbe(argv []string, timeout time.Duration) probe {
	shown := argv
	if len(argv) == 3 && argv[1] == "-c" {
		shown = argv[2:]
	}
	return probe{
		what: strings.Join(shown, " ") + " to succeed",
		wait: rd.poll(timeout, func(ctx context.Context, box *sandbox.Sandbox) error { return rd.exec(ctx, box, argv) }),
	}
}

func (rd *readiness) exec(ctx context.Context, box *sandbox.Sandbox, argv []string) (err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	var said string // the last line, masked
	lines := logs.NewLines(func(lines []logs.Line) { said = lines[len(lines)-1].Text })
	masked := rd.run.mask.Writer(lines)
	var copying crash.Group
	copying.Go(func() { _, _ = io.Copy(masked, reader) }) // the output only explains a failure; an error changes nothing
	exit, err := box.Exec(ctx, sandbox.ExecOptions{Args: argv, Stdout: writer, Stderr: writer})
	err = errors.Join(err, writer.Close(), reader.SetReadDeadline(time.Now().Add(probeDrain)))
	err = errors.Join(err, copying.Wait(), masked.Close(), lines.Close())
	switch {
	case err != nil:
		return err
	case exit.Code == 0:
		return nil
	case said == "":
		return fmt.Errorf("exit code %d", exit.Code)
	}
	return fmt.Errorf("exit code %d: %s", exit.Code, said)
}

// itself returns the address of a host that is the step itself: one of its names or, on the host's
// network, an address of the host.
func (rd *readiness) itself(host string) (netip.Addr, bool) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	step := rd.node.step
	if host == "" || host == "localhost" || host == step.Name || host == step.Names.Hostname || slices.Contains(rd.run.aliases(rd.node), host) {
		return loopback, true
	}
	for _, extra := range step.Names.ExtraHosts {
		if extra.Name == host {
			host = extra.Address
		}
	}
	address, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return address, false
	case address.IsUnspecified():
		return loopback, true
	case address.IsLoopback():
		return address, true
	}
	return address, (step.Network == "" || step.Network == sandbox.NetworkHost) && isOfHost(address)
}

// isOfHost reports whether the machine has an address.
func isOfHost(address netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == address.Unmap()
	})
}

// dial connects from the step's network.
func (rd *readiness) dial(ctx context.Context, box *sandbox.Sandbox, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addresses, err := rd.resolve(ctx, box, host)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, address := range addresses {
		conn, err := box.Dial(ctx, netip.AddrPortFrom(address, uint16(number)))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// resolve finds the addresses that a host has for the step. A step that is called by a name may
// listen by IPv6 alone.
func (rd *readiness) resolve(ctx context.Context, box *sandbox.Sandbox, host string) ([]netip.Addr, error) {
	if address, ok := rd.itself(host); ok {
		if literal, err := netip.ParseAddr(host); err != nil || literal.IsUnspecified() {
			return []netip.Addr{address, netip.IPv6Loopback()}, nil
		}
		return []netip.Addr{address}, nil
	}
	for _, peer := range rd.run.peers() {
		if slices.Contains(peer.Names, host) {
			return box.Find(&peer)
		}
	}
	for _, extra := range rd.node.step.Names.ExtraHosts {
		if extra.Name == host {
			host = extra.Address
		}
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
