package ui

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Options are what a Server shows, and what it may do.
type Options struct {
	Root      string // state root
	AllowStop bool   // pages may stop runs
	Flags     string // flags, each after a space, that commands on pages need to find the state root
}

const (
	mostConnections = 256              // open connections; more wait
	mostStreams     = 64               // streams of changes; a page without one is not live
	writeTime       = 30 * time.Second // for a response, and for each part of a stream
	shutdownTime    = 5 * time.Second  // for responses that are under way at the end
	lookAgain       = time.Second      // between two looks at the runs, while somebody watches
)

// Server serves the pages of one state root at one address.
type Server struct {
	options  Options
	host     string   // address of the listener, with the port
	hosts    []string // values of Host that are answered
	base     string   // path that all pages are below, with a slash at both ends
	token    string   // that the address carries which is printed
	cookie   string   // that a browser gets for the token
	form     string   // that a form which changes something carries
	pages    *pages
	runs     *runs
	views    *views
	measured measured
	streams  chan struct{} // has an element for each stream
	ending   context.Context
	end      context.CancelFunc
	work     sync.WaitGroup // goroutines of the server
}

// Listen listens at an address of this machine alone: an IP address of the loopback interface, or localhost,
// with a port. Port 0 is any free one.
func Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: not an address with a port, such as 127.0.0.1:8080", address)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return nil, fmt.Errorf("%s: must be an address that only this machine reaches, such as 127.0.0.1:8080 (from another machine use ssh -L)", address)
	}
	return net.Listen("tcp", net.JoinHostPort(host, port))
}

// New makes a server of the pages for a listener's address. Close it, or let Serve do so.
func New(o Options, at net.Addr) (*Server, error) {
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, host: at.String(), hosts: []string{at.String(), net.JoinHostPort("localhost", port)},
		// Browsers keep cookies apart by host and path, and not by port. On a path that nobody can guess,
		// no other server of this machine is sent the cookie.
		base:  "/" + secret(8) + "/",
		token: secret(20), cookie: secret(20), form: secret(20),
		pages: pages, runs: newRuns(o.Root), streams: make(chan struct{}, mostStreams),
	}
	s.ending, s.end = context.WithCancel(context.Background())
	s.views = &views{root: o.Root, flags: o.Flags, ending: s.ending, work: &s.work, open: map[string]*view{}}
	s.work.Go(s.watch)
	return s, nil
}

// secret returns so many random bytes in hexadecimal.
func secret(bytes int) string {
	text := make([]byte, bytes)
	_, _ = rand.Read(text) // it never fails
	return hex.EncodeToString(text)
}

// URL is the address to open. Whoever has it sees everything that the server shows.
func (s *Server) URL() string { return "http://" + s.host + s.base + "?token=" + s.token }

// Serve answers requests until ctx ends, and then ends everything that the server has begun.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: writeTime, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // it would be in the way of the terminal
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(netutil.LimitListener(l, mostConnections)) }() // ends with Close
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		s.end() // streams end
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(over) != nil {
			_ = server.Close() // somebody reads too slowly
		}
		err = <-served
	}
	s.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, server.Close())
}

// Close ends everything that the server has begun, and waits for it.
func (s *Server) Close() {
	s.end()
	s.work.Wait()
}

// watch looks at the runs while somebody watches them, and closes views that nobody has looked at for a
// while.
func (s *Server) watch() {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	defer s.runs.close()
	for {
		select {
		case <-s.ending.Done():
			return
		case <-ticker.C:
			s.views.closeIdle()
			if s.runs.watched() {
				s.runs.look()
			}
		}
	}
}
