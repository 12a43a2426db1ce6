package pull_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/pull"
)

// TestARegistryOfThisMachineIsJudgedByPlainHTTP asks registries that have no TLS, which is found out
// by TLS, and that fail without it too.
func TestARegistryOfThisMachineIsJudgedByPlainHTTP(t *testing.T) {
	hijacked := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // after the host
	}{
		{"500", status(500), " is no registry, or is out of order (GET /v2/: HTTP status 500)"},
		{"404", status(404), " is no registry, or is out of order (GET /v2/: HTTP status 404)"},
		{"closes", hijacked(""), " (which has no TLS) closed the connection without an answer"},
		{"not HTTP", hijacked("220 mail.example\r\n"), ` (which has no TLS): net/http: HTTP/1.x transport connection broken: malformed HTTP status code "mail.example"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			err := resolveError(t, host+"/x:1", pull.Options{Keychain: anonymous, RetryWait: time.Millisecond})
			if got := err.Error(); !strings.HasSuffix(got, host+test.want) {
				t.Errorf("got  %s\nwant …%s%s", got, host, test.want)
			}
		})
	}
}

// TestARegistryThatClosesEveryConnection says neither TLS nor plain HTTP: nothing is known of it.
func TestARegistryThatClosesEveryConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_ = conn.Close()
		}
	}()
	defer func() { _ = listener.Close(); <-done }()
	host := listener.Addr().String()
	err = resolveError(t, host+"/x:1", pull.Options{Keychain: anonymous, RetryWait: time.Millisecond})
	if got, want := err.Error(), host+" closed the connection without an answer"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want …%s", got, want)
	}
}
