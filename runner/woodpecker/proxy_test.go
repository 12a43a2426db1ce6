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
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/servertest"
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

// A server that is not up yet is waited for, whatever stands in its place. Nothing but its own
// refusal ends an agent that has not worked yet.
func TestFirstContactWaitsForTheServer(t *testing.T) {
	for name, answer := range map[string]func(*badProxy, http.ResponseWriter, *http.Request){
		"502":             says(502, "text/html", "<html>Bad Gateway</html>", nil),
		"503":             says(503, "text/plain", "no healthy upstream", nil),
		"504":             says(504, "", "", nil),
		"503 as gRPC":     says(200, grpcType, "", map[string]string{"Grpc-Status": "14"}),
		"404":             says(404, "text/plain", "404 page not found", nil),
		"401":             says(401, "text/html", "<html>log in</html>", nil),
		"403":             says(403, "text/html", "", nil),
		"429":             says(429, "", "", nil),
		"500":             says(500, "text/html", "", nil),
		"302":             says(302, "text/html", "", nil),
		"HTML":            says(200, "text/html", "<html>starting</html>", nil),
		"no route":        says(200, grpcType, "", map[string]string{"Grpc-Status": "12", "Grpc-Message": "unknown service proto.Woodpecker"}),
		"no trailers":     says(200, grpcType, "", nil),
		"garbage message": says(200, grpcType, "\x00\x00\x00\x00\x04\xff\xff\xff\xff", map[string]string{"Grpc-Status": "0"}),
		"cut off":         cutOff,
		"half closed":     halfClosed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly pauses
			b := newBench(t)
			p := newBadProxy(b, answer)
			p.arm(3, "Auth", "Version", "RegisterAgent")
			b.start(func(o *woodpecker.Options) { o.Server = p.address })
			b.UntilSaid("trying until it is back")
			b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
			if left := p.unused(); len(left) > 0 {
				t.Errorf("not tried: %v", left)
			}
		})
	}
}

// A database that is not up yet when the server is says nothing about the secret.
func TestTroubleOfTheServerIsNoRefusedSecret(t *testing.T) {
	b := newBench(t)
	for _, text := range []string{"agent could not auth: dial tcp 127.0.0.1:5432: connect: connection refused", "agent could not auth: database is locked"} {
		b.server.RefuseSaying("Auth", text)
	}
	b.start(nil)
	b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
}

// An address behind which no server ever comes up ends the agent in the end.
func TestFirstContactGivesUpAfterTheOutage(t *testing.T) {
	b := newBench(t)
	p := newBadProxy(b, says(404, "text/plain", "404 page not found", nil))
	p.arm(1<<30, "Auth")
	a := b.start(func(o *woodpecker.Options) { o.Server, o.Outage = p.address, time.Millisecond })
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), "gave up on the server") || !b.HasSaid("is this the HTTP port?") {
		t.Errorf("%v, said %q", err, b.Said())
	}
}

// Proxies cut off calls that last for long, such as a poll for work without any. That is no
// outage, which would end the agent after some time.
func TestPollsThatAProxyCutsOffAreNoOutage(t *testing.T) {
	b := newBench(t)
	var cuts atomic.Int32
	p := newBadProxy(b, func(p *badProxy, w http.ResponseWriter, r *http.Request) {
		before := b.server.AllCalls()["Log"]
		for b.server.AllCalls()["Log"] < before+3 && r.Context().Err() == nil { // so the agent has got answers meanwhile
			runner.Pause(r.Context(), 10*time.Millisecond)
		}
		says(504, "text/html", "", nil)(p, w, r)
		cuts.Add(1)
	})
	b.start(func(o *woodpecker.Options) {
		o.Server, o.MaxWorkflows, o.Outage, o.RetryTimeout = p.address, 2, time.Millisecond, time.Millisecond
	})
	long := step("a", "while ! test -e /gate/open; do echo line; sleep 0.05; done")
	dir := t.TempDir()
	long.Volumes = append(long.Volumes, dir+":/gate")
	id := b.server.Push(workflow(serial(long)...), 0, nil)
	b.until("lines", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	p.arm(3, "Next")
	b.server.Ended(b.server.Push(workflow(serial(step("b", "true"))...), 0, nil)) // after it, polls are cut off
	b.until("three polls that were cut off", func() bool { return cuts.Load() == 3 })
	touch(t, dir+"/open")
	b.server.Ended(id)
	b.server.Ended(b.server.Push(workflow(serial(step("c", "true"))...), 0, nil))
	if b.HasSaid("cannot be reached") {
		t.Errorf("said %q", b.Said())
	}
}

// An answer that takes longer than the agent waits for one is waited for longer the next time.
func TestServerThatIsAlwaysSlow(t *testing.T) {
	for name, slow := range map[string]func(s *servertest.Server, method string){
		"late":   func(s *servertest.Server, method string) { s.Slow(method, 300*time.Millisecond, 1<<10) },
		"obeyed": func(s *servertest.Server, method string) { s.Late(method, 300*time.Millisecond, 1<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly pauses
			b := newBench(t)
			for _, method := range []string{"Auth", "Version", "RegisterAgent", "ReportHealth", "Next", "Init", "Wait", "Extend", "Update", "Log", "Done"} {
				slow(b.server, method)
			}
			b.start(func(o *woodpecker.Options) { o.AnswerTime = 100 * time.Millisecond })
			w := b.server.Ended(b.server.Push(workflow(serial(step("a", "seq 1 100"), step("b", "echo b", "exit 3"))...), 0, nil))
			if outcome(w.Step("a")) != "success" || w.Step("b").End.GetExitCode() != 3 || w.Done.GetError() != "" || strings.Count(printed(w.Step("a")), "\n") != 99 {
				t.Errorf("%v, %v, %v, %d lines", w.Step("a").End, w.Step("b").End, w.Done, len(w.Step("a").Lines))
			}
		})
	}
}

// All calls wait for the token. A poll that renews it must not wait for the answer for ever.
func TestRenewedTokenThatTheServerNeverAnswersWith(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) { o.MaxWorkflows, o.AnswerTime = 2, 100*time.Millisecond })
	b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
	b.server.Slow("Auth", time.Hour, 1)
	b.server.Refuse("Next", codes.Unauthenticated, 1)
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "echo a", "sleep 0.5", "exit 3"))...), 0, nil))
	if w.Step("a").End.GetExitCode() != 3 {
		t.Errorf("%v, %v", w.Step("a").End, w.Done)
	}
}

// What goes wrong with the calls that watch a workflow and renew its lease does not touch it, and
// a cancel still comes through.
func TestCancelBehindABadProxy(t *testing.T) {
	for name, answer := range map[string]func(*badProxy, http.ResponseWriter, *http.Request){
		"502": says(502, "text/html", "", nil), "503": says(503, "", "", nil), "504": says(504, "", "", nil), "404": says(404, "", "", nil),
		"HTML": says(200, "text/html", "<html>starting</html>", nil), "cut off": cutOff, "half closed": halfClosed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly pauses
			b := newBench(t)
			p := newBadProxy(b, answer)
			p.arm(3, "Wait", "Extend", "ReportHealth")
			b.start(func(o *woodpecker.Options) { o.Server = p.address })
			id := b.server.Push(workflow(serial(step("a", "echo begun", "sleep 1000"))...), 0, nil)
			b.until("the watch", func() bool { return b.server.Calls("Wait") > 0 && len(b.server.Get(id).Step("a").Lines) > 1 })
			b.server.Cancel(id)
			if w := b.server.Ended(id); !w.Done.GetCanceled() || outcome(w.Step("a")) != "canceled" {
				t.Errorf("%v, %v", w.Done, w.Step("a").End)
			}
		})
	}
}
