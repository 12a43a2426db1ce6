// Package unary makes gRPC calls with one request and one answer, over the HTTP/2 of net/http
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). With google.golang.org/grpc each
// start of the program, whatever its command, took a sixth more CPU.
package unary

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrGoAway ends a call that waits, or that has not begun, when the server closes its connection in
// an orderly way: the server waits for the calls that it still answers.
var ErrGoAway = status.Error(codes.Unavailable, "the server is going away")

const (
	connectTime = 10 * time.Second
	// watchPeriod is the time between two looks at a connection: package net/http does not announce
	// that the server has sent GOAWAY.
	watchPeriod = time.Second
	// shortestPing is the least of Options.PingAfter that servers put up with.
	shortestPing = 10 * time.Second
)

// Options say where a server is. Dial and Authority are required.
type Options struct {
	Authority    string      // HOST:PORT of the server, for its certificate and its name in requests
	TLS          *tls.Config // nil: the connection is not encrypted
	Dial         func(ctx context.Context) (net.Conn, error)
	Limit        int           // size of the largest answer, in bytes
	PingAfter    time.Duration // silence after which the connection is tested, at least 10 s; 0: never
	PingPatience time.Duration // time for the answer to such a test
}

// Conn is a connection to a server. It is made when a call needs it, and again when it has ended.
type Conn struct {
	o         Options
	scheme    string
	transport *http.Transport

	connecting chan struct{} // holds a value while a call looks for the connection
	mu         sync.Mutex
	current    *link // nil: none yet
	closed     bool
}

// New returns a connection that the first call makes. The caller closes it.
func New(o Options) *Conn {
	protocols := new(http.Protocols)
	c := &Conn{o: o, scheme: "http", connecting: make(chan struct{}, 1)}
	if o.PingAfter > 0 {
		o.PingAfter = max(o.PingAfter, shortestPing)
	}
	if o.TLS != nil {
		c.scheme = "https"
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	c.transport = &http.Transport{
		Protocols: protocols, DisableCompression: true,
		TLSClientConfig: o.TLS.Clone(), // the transport changes it
		HTTP2:           &http.HTTP2Config{SendPingTimeout: o.PingAfter, PingTimeout: o.PingPatience},
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return o.Dial(ctx) },
	}
	return c
}

// Close ends the connection. No call is made after it.
func (c *Conn) Close() {
	c.mu.Lock()
	l := c.current
	c.current, c.closed = nil, true
	c.mu.Unlock()
	if l != nil {
		l.end()
	}
}

// begin returns the connection of a new call, which calls its done. The error is a status of gRPC.
func (c *Conn) begin(ctx context.Context) (*link, error) {
	select {
	case c.connecting <- struct{}{}:
		defer func() { <-c.connecting }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	c.mu.Lock()
	l := c.current
	c.mu.Unlock()
	if l != nil && l.begin() {
		return l, nil
	}
	limited, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := c.transport.NewClientConn(limited, c.scheme, c.o.Authority)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case err != nil:
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	l = newLink(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.end()
		return nil, status.Error(codes.Canceled, "the connection is closed")
	}
	c.current = l
	return l, nil
}
