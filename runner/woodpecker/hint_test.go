package woodpecker_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stepexec/stepexec/runner/woodpecker"
)

func TestConnectionsThatCannotWorkSayWhy(t *testing.T) {
	plain, secure := httptest.NewServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of clients without TLS
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	encrypted := &tls.Config{MinVersion: tls.VersionTLS12}
	for want, c := range map[string]struct {
		server *httptest.Server
		tls    *tls.Config
	}{
		"is this the HTTP port?":           {plain, nil},
		"set WOODPECKER_GRPC_SECURE=false": {plain, encrypted},
		"set WOODPECKER_GRPC_SECURE=true":  {secure, nil},
		"let SSL_CERT_FILE name":           {secure, encrypted},
	} {
		b := newBench(t)
		b.start(func(options *woodpecker.Options) {
			options.Server, options.TLS = c.server.Listener.Addr().String(), c.tls
		})
		b.UntilSaid(want)
	}
}
