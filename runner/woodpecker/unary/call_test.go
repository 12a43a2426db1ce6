package unary_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stepexec/stepexec/runner/woodpecker/unary"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const patience = time.Minute // for what must happen

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an HTTP/2 server that answers calls as its test says.
type server struct {
	*http.Server
	address string
}

func serve(t *testing.T, streams int, answer http.HandlerFunc) *server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &server{Server: &http.Server{Protocols: protocols, Handler: answer, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}, address: listener.Addr().String()}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(listener) }) // it returns when the server is closed
	t.Cleanup(func() {
		_ = s.Close() // the test is over
		served.Wait()
	})
	return s
}

func (s *server) connect(t *testing.T) *unary.Conn {
	c := unary.New(unary.Options{Authority: s.address, Limit: 1000, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.address)
	}})
	t.Cleanup(c.Close)
	return c
}

func version(ctx context.Context, c *unary.Conn, waits bool) (string, error) {
	answer, err := wire.Version.Call(ctx, c, waits, http.Header{"Token": {"secret"}}, &wire.Empty{})
	return answer.GetServerVersion(), err
}

// says answers with a version, and with a status in the trailer.
func says(w http.ResponseWriter, version, code, text string) {
	w.Header().Set("Content-Type", "application/grpc+proto")
	message, err := proto.Marshal(&wire.VersionResponse{ServerVersion: version})
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(append([]byte{0, 0, 0, byte(len(message) >> 8), byte(len(message))}, message...)) // the client may be gone
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
	w.Header().Set(http.TrailerPrefix+"Grpc-Message", text)
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   codes.Code
		text   string // the whole message; "": any
	}{
		"good":               {answer: func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "0", "") }},
		"error with a text":  {func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "2", "no rows: 100%25 \xc3\xa9 %C3%A9") }, codes.Unknown, "no rows: 100% é é"},
		"text not encoded":   {func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "7", "100% sure") }, codes.PermissionDenied, "100% sure"},
		"status that is new": {func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "99", "") }, 99, ""},
		"status of letters":  {func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "-1", "") }, codes.Unknown, `malformed grpc-status: "-1"`},
		"too large":          {func(w http.ResponseWriter, _ *http.Request) { says(w, fmt.Sprintf("%01000d", 0), "0", "") }, codes.ResourceExhausted, "received message larger than max (1000)"},
		"only headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "16")
		}, codes.Unauthenticated, ""},
		"two messages": {func(w http.ResponseWriter, _ *http.Request) {
			says(w, "3.0", "0", "")
			says(w, "3.1", "0", "")
		}, codes.Internal, "the answer is not one whole message"},
		"a page":             {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, codes.Unavailable, `received unexpected content-type "text/html; charset=utf-8"`},
		"another error page": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusRequestEntityTooLarge) }, codes.Unavailable, "unexpected HTTP status code received from server: 413 (Request Entity Too Large)"},
		"similar type":       {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/grpc-web") }, codes.Unavailable, ""},
		"cut off":            {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, codes.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, 10, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/proto.Woodpecker/Version" || r.Header.Get("Token") != "secret" || r.Header.Get("Te") != "trailers" {
					t.Errorf("%s with %v", r.URL.Path, r.Header)
				}
				c.answer(w, r)
			})
			got, err := version(t.Context(), s.connect(t), false)
			if status.Code(err) != c.code || c.text != "" && status.Convert(err).Message() != c.text || (got == "3.0") != (err == nil) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	begun := make(chan string, 1)
	s := serve(t, 10, func(_ http.ResponseWriter, r *http.Request) {
		begun <- r.Header.Get("Grpc-Timeout")
		<-r.Context().Done()
	})
	c := s.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := version(ctx, c, false); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := version(cancelled, c, true); ended <- err }()
	for within(t, "the call at the server", begun) != "" { // the call with a deadline may have reached it or not
	}
	cancel()
	if err := within(t, "the end of the call", ended); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

func TestServerThatIsNotThereIsCalledAgain(t *testing.T) {
	s := serve(t, 10, func(w http.ResponseWriter, _ *http.Request) { says(w, "3.0", "0", "") })
	var there bool
	c := unary.New(unary.Options{Authority: s.address, Limit: 1000, Dial: func(ctx context.Context) (net.Conn, error) {
		if !there {
			return nil, errors.New("it is not there")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", s.address)
	}})
	defer c.Close()
	if _, err := version(t.Context(), c, false); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "it is not there" {
		t.Error(err)
	}
	there = true
	if got, err := version(t.Context(), c, false); got != "3.0" {
		t.Error(err)
	}
}

// The server answers calls that do not wait, and ends those that do.
func TestServerGoesAway(t *testing.T) {
	begun, answer := make(chan bool), make(chan bool)
	var calls atomic.Int32
	s := serve(t, 10, func(w http.ResponseWriter, r *http.Request) {
		first := calls.Add(1) == 1
		begun <- true
		if first {
			<-r.Context().Done()
			return
		}
		<-answer
		says(w, "3.0", "0", "")
	})
	c := s.connect(t)
	waits, prompt := make(chan error, 1), make(chan error, 1)
	go func() { _, err := version(t.Context(), c, true); waits <- err }()
	<-begun
	go func() { _, err := version(t.Context(), c, false); prompt <- err }()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.WithoutCancel(t.Context())) }()
	if err := within(t, "the end of the call that waits", waits); !errors.Is(err, unary.ErrGoAway) {
		t.Error(err)
	}
	answer <- true
	if err := within(t, "an answer", prompt); err != nil {
		t.Error(err)
	}
	if err := within(t, "the end of the server", ended); err != nil {
		t.Error(err)
	}
}

// A connection with as many calls as the server takes is not one that it closes.
func TestServerTakesFewCallsAtOnce(t *testing.T) {
	begun, answer := make(chan bool, 3), make(chan bool)
	s := serve(t, 2, func(w http.ResponseWriter, _ *http.Request) {
		begun <- true
		<-answer
		says(w, "3.0", "0", "")
	})
	c := s.connect(t)
	results := make(chan error, 4)
	call := func() { _, err := version(t.Context(), c, true); results <- err }
	go call()
	<-begun // the client knows the server's limit with the first answer
	answer <- true
	if err := within(t, "the first answer", results); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		go call()
	}
	for range 3 {
		answer <- true
	}
	for range 3 {
		if err := within(t, "an answer", results); err != nil {
			t.Error(err)
		}
	}
}

func within[T any](t *testing.T, what string, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatal("waited in vain for: " + what)
	}
	return value
}
