package woodpecker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/runner/woodpecker"
)

// badProxy stands before the server. While it is armed, the first calls of every method get
// an answer of its own.
type badProxy struct {
	address string
	answer  http.HandlerFunc // to the calls that go wrong
	forward http.Handler     // to the server

	mu   sync.Mutex
	left map[string]int // calls of a method that are still to go wrong
}

// newBadProxy starts a proxy before the server of b. It ends with the test.
func newBadProxy(b *bench, answer func(p *badProxy, w http.ResponseWriter, r *http.Request)) *badProxy {
	b.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: b.server.Address()})
	forward.Transport, forward.FlushInterval = transport, -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p := &badProxy{forward: forward, left: map[string]int{}}
	p.answer = func(w http.ResponseWriter, r *http.Request) { answer(p, w, r) }
	front := httptest.NewUnstartedServer(p)
	front.Config.Protocols = protocols
	front.Start()
	p.address = front.Listener.Addr().String()
	b.t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		transport.CloseIdleConnections()
	})
	return p
}

func (p *badProxy) arm(times int, methods ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range methods {
		p.left[m] = times
	}
}

// unused lists the methods whose faults have not all happened.
func (p *badProxy) unused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var methods []string
	for m, times := range p.left {
		if times > 0 {
			methods = append(methods, m)
		}
	}
	return methods
}

func (p *badProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := path.Base(r.URL.Path)
	p.mu.Lock()
	bad := p.left[method] > 0
	if bad {
		p.left[method]--
	}
	p.mu.Unlock()
	if bad {
		p.answer(w, r)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// says answers with headers, a body and trailers.
func says(code int, contentType, body string, trailers map[string]string) func(*badProxy, http.ResponseWriter, *http.Request) {
	return func(_ *badProxy, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
		for name, value := range trailers {
			w.Header().Set(http.TrailerPrefix+name, value)
		}
	}
}

func cutOff(*badProxy, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func halfClosed(p *badProxy, w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // the connection ends in any case
	cutOff(p, w, r)
}

// after lets the server do what the call says, and then answers in its own way.
func after(answer func(*badProxy, http.ResponseWriter, *http.Request)) func(*badProxy, http.ResponseWriter, *http.Request) {
	return func(p *badProxy, w http.ResponseWriter, r *http.Request) {
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		answer(p, w, r)
	}
}

const grpcType = "application/grpc"

func TestNothingIsLostBehindABadProxy(t *testing.T) {
	answers := map[string]func(*badProxy, http.ResponseWriter, *http.Request){
		"empty 200":                  says(200, "", "", nil),
		"HTML":                       says(200, "text/html", "<html>starting</html>", nil),
		"JSON with 404":              says(404, "application/json", "{}", nil),
		"503 after the call":         after(says(503, "text/plain", "", nil)),
		"no trailers":                says(200, grpcType, "", nil),
		"trailers without a message": says(200, grpcType, "", map[string]string{"Grpc-Status": "0"}),
		"garbage trailers":           says(200, grpcType, "", map[string]string{"Grpc-Status": "what?", "Grpc-Message": "%zz\x01"}),
		"unknown status":             says(200, grpcType, "", map[string]string{"Grpc-Status": "4711"}),
		"garbage message":            says(200, grpcType, "\x00\x00\x00\x00\x04\xff\xff\xff\xff", map[string]string{"Grpc-Status": "0"}),
		"compressed message":         says(200, grpcType, "\x01\x00\x00\x00\x00", map[string]string{"Grpc-Status": "0"}),
		"half a message":             says(200, grpcType, "\x00\x00\x00\x10\x00half", nil),
		"cut off":                    cutOff,
		"cut off after the call":     after(cutOff),
		"half closed after the call": after(halfClosed),
		"no route":                   says(200, grpcType, "", map[string]string{"Grpc-Status": "12"}),
		"no permission":              says(200, grpcType, "", map[string]string{"Grpc-Status": "7"}),
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly pauses
			b := newBench(t)
			p := newBadProxy(b, answer)
			b.start(func(o *woodpecker.Options) { o.Server = p.address })
			b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
			methods := []string{"Init", "Update", "Log", "Done"}
			if !strings.Contains(name, "after the call") { // a server that has given a workflow away does not do so again
				methods = append(methods, "Next")
			}
			p.arm(2, methods...)
			w := b.server.Ended(b.server.Push(workflow(serial(step("a", "seq 1 100"), step("b", "echo b", "exit 3"))...), 0, nil))
			if outcome(w.Step("a")) != "success" || w.Step("b").End.GetExitCode() != 3 || w.Done.GetError() != "" {
				t.Errorf("%v, %v, %v", w.Step("a").End, w.Step("b").End, w.Done)
			}
			if strings.Count(printed(w.Step("a")), "\n") != 99 || printed(w.Step("b")) != "b" {
				t.Errorf("%d lines, %q", len(w.Step("a").Lines), w.Step("b").Lines)
			}
			b.server.Ended(b.server.Push(workflow(serial(step("next", "true"))...), 0, nil))
			if left := p.unused(); len(left) > 0 {
				t.Errorf("not tried: %v", left)
			}
		})
	}
}
