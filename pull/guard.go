package pull

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// refusal is stepexec's own error about a request or an answer. It is shown unchanged.
type refusal string

func (r refusal) Error() string { return string(r) }

const errTooLarge = refusal("it is larger than 8 MiB: refused")

const maxRedirects = 10

// guard is a RoundTripper for all requests that concern one registry or mirror: to itself, to its
// token server and to the targets of redirects. It knows the settings of each host, so that
// settings of one host never apply to another. It does not share connections: a connection that
// this registry may use must not be available to another that may not.
type guard struct {
	settings *Registries
	reach    *reach
	others   http.RoundTripper
	close    func()

	mu  sync.Mutex
	own map[string]*http.Transport // transports of hosts with their own connection settings

	asked sync.Map // hosts that asked for a client certificate and got none
}

func newGuard(o Options, home string) *guard {
	g := &guard{
		settings: o.Registries, reach: &reach{home: home, allowed: o.Registries.host(home).AllowPrivate},
		others: o.Transport, own: make(map[string]*http.Transport),
	}
	own := func() {}
	switch given := o.Transport.(type) {
	case nil:
		t := NewTransport()
		t.ResponseHeaderTimeout = 0 // watch enforces the time limit
		t.DialContext = g.reach.dialer(connectTimeout)
		g.others, own = t, t.CloseIdleConnections
	case *http.Transport:
		t := given.Clone()
		if dial := given.DialContext; dial != nil {
			t.DialContext = g.reach.judging(dial)
		} else {
			t.DialContext = g.reach.dialer(connectTimeout)
		}
		g.others, own = t, t.CloseIdleConnections
	}
	g.close = func() {
		own()
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, t := range g.own {
			t.CloseIdleConnections()
		}
	}
	return g
}

// transport returns the transport for requests to a host.
func (g *guard) transport(host string) (http.RoundTripper, error) {
	settings := g.settings.host(host)
	if !settings.ownTransport() {
		return g.others, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.own[hostKey(host)]; t != nil {
		return t, nil
	}
	t, err := settings.transport(g.reach, func() { g.asked.Store(hostKey(host), true) })
	if err != nil {
		return nil, refusal(fmt.Sprintf("settings of registry %s: %v", hostKey(host), err))
	}
	g.own[hostKey(host)] = t
	return t, nil
}

// RoundTrip refuses plain HTTP to other machines, redirects included, unless the settings name
// them. The attack: the registry library falls back to HTTP for private addresses, .local names and
// redirects, so that someone on the path who drops port 443 gets the credentials and chooses the
// image.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = showRealm(r)
	if r.URL.Scheme != "https" && r.URL.Scheme != "http" {
		return nil, refusal(fmt.Sprintf("a redirect of %s to a URL with the scheme %.20q is refused", shownHost(g.reach.home), r.URL.Scheme))
	}
	settings := g.settings.host(r.URL.Host)
	if scheme := settings.scheme(); scheme != "" && scheme != r.URL.Scheme {
		// The library greets every registry with TLS first, and tries registries of this machine
		// without TLS too, whatever the settings say.
		r = r.Clone(r.Context())
		r.URL.Scheme = scheme
	}
	if err := checkScheme(r, settings); err != nil {
		return nil, err
	}
	if err := checkRedirects(r); err != nil {
		return nil, err
	}
	next, err := g.transport(r.URL.Host)
	if err != nil {
		return nil, err
	}
	proxied := isProxied(next, r)
	if proxied {
		if err := g.reach.checkProxied(r.URL); err != nil {
			return nil, err
		}
	}
	judged, used := g.reach.request(r)
	resp, err := next.RoundTrip(judged)
	if from := used.Load(); err == nil && from != nil && !proxied && hostKey(r.URL.Host) == hostKey(g.reach.home) {
		g.reach.answered(*from)
	}
	if _, asked := g.asked.Load(hostKey(r.URL.Host)); asked && err != nil {
		return nil, &uncertified{err}
	}
	if err != nil {
		return nil, plainHTTPError(r, settings, err)
	}
	hideRealm(resp)
	if busy := notNow(resp, time.Now()); busy != nil {
		_ = resp.Body.Close() // the content is not needed
		return nil, busy
	}
	if limit, ok := r.Context().Value(bodyLimit{}).(int64); ok {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: limit}
	}
	return resp, nil
}

// isProxied reports whether a proxy carries the request.
func isProxied(t http.RoundTripper, r *http.Request) bool {
	transport, ok := t.(*http.Transport)
	if !ok || transport.Proxy == nil {
		return false
	}
	proxy, err := transport.Proxy(r)
	return err == nil && proxy != nil
}

// uncertified is a failure after a host asked for a client certificate and got none. That is the
// likely reason, although a server that ends a TLS 1.3 handshake over it may cause just a broken
// connection.
type uncertified struct{ error }

func (u *uncertified) Unwrap() error { return u.error }

// checkScheme allows plain HTTP to this machine and to hosts with that setting.
func checkScheme(r *http.Request, settings Host) error {
	if r.URL.Scheme == "https" || settings.HTTP || isLoopback(r.URL.Hostname()) {
		return nil
	}
	return refusePlainHTTP(r.URL.Host)
}

// checkRedirects checks the requests that led to this one. The library's own redirect checks
// replace Go's limit of ten.
func checkRedirects(r *http.Request) error {
	redirects := 0
	for from := r.Response; from != nil && from.Request != nil; from = from.Request.Response {
		if from.Request.URL.Scheme == "https" && r.URL.Scheme != "https" {
			return refusal(fmt.Sprintf("a redirect from https://%s to plain HTTP is refused", from.Request.URL.Host))
		}
		if redirects++; redirects > maxRedirects {
			return refusal(fmt.Sprintf("more than %d redirects", maxRedirects))
		}
	}
	return nil
}

// withoutTLS is the failure of a request over plain HTTP. The library asks a registry of this
// machine with TLS first, and reports both failures if plain HTTP fails too.
type withoutTLS struct{ error }

func (w *withoutTLS) Unwrap() error { return w.error }

// plainHTTPError says so when a server has no TLS. For registries of this machine, this is just how
// the library finds out: what plain HTTP led to matters there.
func plainHTTPError(r *http.Request, settings Host, err error) error {
	if r.URL.Scheme == "http" {
		return &withoutTLS{err}
	}
	record := new(tls.RecordHeaderError)
	if errors.As(err, record) && string(record.RecordHeader[:]) == "HTTP/" && (settings.usesTLS() || !isLoopback(r.URL.Hostname())) {
		return refusePlainHTTP(r.URL.Host)
	}
	return err
}

func refusePlainHTTP(host string) refusal {
	return refusal(fmt.Sprintf("plain HTTP to %s is refused: only a registry on this machine (localhost, 127.0.0.1), or one whose settings say http: true, may do without TLS", host))
}
