package pull_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is what a faultyProxy does to one response. Counts are bytes of its body.
type fault struct {
	kind faultKind
	at   int
}

type faultKind string

const (
	none        faultKind = "none"
	cut         faultKind = "cut"          // the connection is closed
	reset       faultKind = "reset"        // the connection is reset
	stall       faultKind = "stall"        // nothing comes any more
	noAnswer    faultKind = "no answer"    // not even a header comes
	hangUp      faultKind = "hang up"      // the connection is closed instead of an answer
	status500   faultKind = "500"          //
	status503   faultKind = "503"          //
	status429   faultKind = "429"          // with Retry-After
	status403   faultKind = "403"          //
	status416   faultKind = "416"          // to requests for a range
	ignoreRange faultKind = "ignore range" // all of it comes
	wrongRange  faultKind = "wrong range"  // Content-Range and content begin one byte early
	shortRange  faultKind = "short range"  // an honest part of what was asked for
	shorter     faultKind = "shorter"      // a byte is missing, and Content-Length says so
	longer      faultKind = "longer"       // bytes follow, and no Content-Length says so
	corrupt     faultKind = "corrupt"      // a byte is another
)

// faultyProxy stands in front of a registry and spoils its answers.
type faultyProxy struct {
	Host string

	registry *httputil.ReverseProxy
	next     func(r *http.Request) fault
	mu       sync.Mutex
	requests []string // "PATH RANGE", in order
	injected map[faultKind]int
	closing  chan struct{}

	// hold is how many bytes of a layer are sent before a range of it was asked for, 0:
	// all. Some come one by one then, and the rest when more ranges were asked for.
	hold  int
	asked *signal // a range was asked for
	more  *signal // another was asked for
}

// signal is something that happens once or more often.
type signal struct {
	happened chan struct{}
	give     func()
}

func (s *signal) given() bool {
	select {
	case <-s.happened:
		return true
	default:
		return false
	}
}

func newSignal() *signal {
	s := &signal{happened: make(chan struct{})}
	s.give = sync.OnceFunc(func() { close(s.happened) })
	return s
}

// newFaultyProxy starts a proxy; next chooses the fault of each request, one after
// the other.
func newFaultyProxy(t testing.TB, registry string, next func(r *http.Request) fault) *faultyProxy {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: registry}
	transport := &http.Transport{}
	p := &faultyProxy{
		registry: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: transport,
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
				panic(http.ErrAbortHandler) // the client went away
			},
		},
		next: next, injected: make(map[faultKind]int), closing: make(chan struct{}), asked: newSignal(), more: newSignal(),
	}
	server := httptest.NewServer(p)
	p.Host = server.Listener.Addr().String()
	t.Cleanup(func() {
		close(p.closing)
		server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

func (p *faultyProxy) choose(r *http.Request) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	if r.Header.Get("Range") != "" {
		if p.asked.given() {
			p.more.give()
		}
		p.asked.give()
	}
	f := p.next(r)
	p.injected[f.kind]++
	return f
}

// blobRequests returns the ranges that blobs were asked for, "" for all.
func (p *faultyProxy) blobRequests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ranges []string
	for _, request := range p.requests {
		if path, what, _ := strings.Cut(request, " "); strings.Contains(path, "/blobs/") {
			ranges = append(ranges, what)
		}
	}
	return ranges
}

// count adds the faults so far to all.
func (p *faultyProxy) count(all map[faultKind]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, n := range p.injected {
		all[kind] += n
	}
}

func (p *faultyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.choose(r)
	if p.instead(f, w, r) {
		return
	}
	ranged := r.Header.Get("Range")
	if f.kind == ignoreRange {
		r.Header.Del("Range")
	}
	if f.kind == wrongRange && ranged != "" {
		var from int
		_, _ = fmt.Sscanf(ranged, "bytes=%d-", &from)
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from-1))
	}
	answer := httptest.NewRecorder()
	p.registry.ServeHTTP(answer, r)
	p.spoil(f, w, r, answer)
}

// instead answers by itself if the fault needs no answer of the registry.
func (p *faultyProxy) instead(f fault, w http.ResponseWriter, r *http.Request) bool {
	switch f.kind {
	case noAnswer:
		p.hang(r)
		panic(http.ErrAbortHandler)
	case hangUp:
		panic(http.ErrAbortHandler)
	case status500, status503, status403:
		code, _ := strconv.Atoi(string(f.kind))
		http.Error(w, "hunter2", code)
	case status429:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case status416:
		if r.Header.Get("Range") == "" {
			return false
		}
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	default:
		return false
	}
	return true
}

// hang waits until the client or the test gives up.
func (p *faultyProxy) hang(r *http.Request) {
	p.await(r, nil)
}

func (p *faultyProxy) spoil(f fault, w http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder) {
	body := answer.Body.Bytes()
	header := w.Header()
	for key, values := range answer.Header() {
		header[key] = values
	}
	at := min(f.at, len(body))
	switch f.kind {
	case shorter:
		body = body[:max(0, len(body)-1)]
		header.Set("Content-Length", strconv.Itoa(len(body)))
	case longer:
		header.Del("Content-Length")
		body = append(bytes.Clone(body), "more"...)
	case corrupt:
		body = bytes.Clone(body)
		if len(body) > 0 {
			body[min(at, len(body)-1)] ^= 0x20
		}
	case shortRange:
		body = shortened(header, body, at)
	}
	w.WriteHeader(answer.Code)
	switch f.kind {
	case cut, reset, stall:
		_, _ = w.Write(body[:at])
		_ = http.NewResponseController(w).Flush()
	default:
		p.send(w, r, body)
		return
	}
	switch f.kind {
	case stall:
		p.hang(r)
	case reset:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
		return
	}
	panic(http.ErrAbortHandler) // closes the connection
}

// send sends a body, and one that is to be held slowly.
func (p *faultyProxy) send(w http.ResponseWriter, r *http.Request, body []byte) {
	if p.hold == 0 || r.Header.Get("Range") != "" || len(body) <= p.hold {
		_, _ = w.Write(body)
		return
	}
	_, _ = w.Write(body[:p.hold])
	_ = http.NewResponseController(w).Flush()
	p.await(r, p.asked.happened)
	few := p.hold
	for ; few < min(len(body), p.hold+partSize) && !p.more.given(); few++ {
		if _, err := w.Write(body[few : few+1]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select { // each byte has the reader look for the range's answer, which may take long
		case <-p.more.happened:
		case <-time.After(time.Millisecond):
		}
	}
	p.await(r, p.more.happened)
	_, _ = w.Write(body[few:])
}

// await waits until c is closed, or the client or the test gives up.
func (p *faultyProxy) await(r *http.Request, c chan struct{}) {
	select {
	case <-c:
	case <-r.Context().Done():
	case <-p.closing:
	}
}

// shortened turns a 206 for FIRST-LAST into an honest one for less.
func shortened(header http.Header, body []byte, keep int) []byte {
	var first, last, total int
	if n, _ := fmt.Sscanf(header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n != 3 || keep == 0 {
		return body
	}
	header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+keep-1, total))
	header.Set("Content-Length", strconv.Itoa(keep))
	return body[:keep]
}

// inOrder chooses these faults for requests to blobs one after the other, from the
// layer's first request on, and none for others. The configuration comes before.
func inOrder(faults ...fault) func(*http.Request) fault {
	blobs := 0
	return func(r *http.Request) fault {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return fault{kind: none}
		}
		blobs++
		if i := blobs - 2; i >= 0 && i < len(faults) {
			return faults[i]
		}
		return fault{kind: none}
	}
}

// always chooses the fault for every request of a layer.
func always(f fault) func(*http.Request) fault {
	blobs := 0
	return func(r *http.Request) fault {
		if strings.Contains(r.URL.Path, "/blobs/") {
			if blobs++; blobs > 1 {
				return f
			}
		}
		return fault{kind: none}
	}
}
