package pull

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// NewTransport returns a transport for registries: connections are given up after
// 5 s, TLS handshakes after 10 s and answers that do not begin after 30 s. Proxies
// come from the environment. The caller closes its idle connections.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		// A transparently decompressed layer would no longer have its digest.
		DisableCompression: true,
	}
}

// refusal is an error of ours for a request or an answer. It is shown as it is.
type refusal string

func (r refusal) Error() string { return string(r) }

const errTooLarge = refusal("it is larger than 8 MiB: refused")

const maxRedirects = 10

// guard is a RoundTripper in front of everything that goes to a registry, its token
// server and wherever these redirect to.
type guard struct{ next http.RoundTripper }

// RoundTrip refuses plain HTTP to other machines, also as a redirect. The attack:
// the registry library falls back to HTTP for private addresses, .local names and
// redirects, so that someone on the path who drops port 443 gets the credentials
// and chooses the image.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !isLoopback(r.URL.Hostname()) {
		return nil, refusePlainHTTP(r.URL.Host)
	}
	// The library's own redirect checks replace Go's limit of ten.
	redirects := 0
	for from := r.Response; from != nil && from.Request != nil; from = from.Request.Response {
		if from.Request.URL.Scheme == "https" && r.URL.Scheme != "https" {
			return nil, refusal(fmt.Sprintf("a redirect from https://%s to plain HTTP is refused", from.Request.URL.Host))
		}
		if redirects++; redirects > maxRedirects {
			return nil, refusal(fmt.Sprintf("more than %d redirects", maxRedirects))
		}
	}
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if limit, ok := r.Context().Value(bodyLimit{}).(int64); ok {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: limit}
	}
	return resp, nil
}

func refusePlainHTTP(host string) refusal {
	return refusal(fmt.Sprintf("plain HTTP to %s is refused: only a registry on this machine (localhost, 127.0.0.1) may do without TLS", host))
}

// isLoopback reports whether requests to host stay on this machine.
func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// bodyLimit is the context key under which guard finds the longest body, in bytes,
// that the request may be answered with. The library itself reads manifests of up
// to 100 MiB into memory.
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
	// One byte more than allowed tells too long from just long enough.
	p = p[:min(int64(len(p)), b.left+1)]
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}
