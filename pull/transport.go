package pull

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// connectTimeout is how long opening a connection may take, without TLS.
const connectTimeout = 5 * time.Second

// NewTransport returns a transport for registries. It gives up on connections after 5 s, on TLS
// handshakes after 10 s, on answers that do not begin after 30 s, and on HTTP/2 connections that
// answer no ping for 10 s. Proxies come from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
// The caller closes its idle connections.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		// Requests share an HTTP/2 connection. Without pings, a dead connection would be used for
		// every new attempt too.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
		// A transparently decompressed layer would no longer match its digest.
		DisableCompression: true,
	}
}

// isLoopback reports whether requests to host stay on this machine.
func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// bodyLimit is the context key under which guard finds the maximum length of the answer's body, in
// bytes. The library itself reads manifests of up to 100 MiB into memory.
type bodyLimit struct{}

func withBodyLimit(ctx context.Context, limit int64) context.Context {
	return context.WithValue(ctx, bodyLimit{}, limit)
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than allowed tells a body that is too long from one of exactly the limit.
	p = p[:min(int64(len(p)), b.left+1)]
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}
