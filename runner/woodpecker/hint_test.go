package woodpecker_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/runner/woodpecker"
)

func TestConnectionsThatCannotWorkSayWhy(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for want, o := range map[string]*tls.Config{
		"is this the HTTP port?": nil, "set WOODPECKER_GRPC_SECURE=false": {MinVersion: tls.VersionTLS12},
	} {
		b := newBench(t)
		b.start(func(options *woodpecker.Options) {
			options.Server, options.TLS = strings.TrimPrefix(plain.URL, "http://"), o
		})
		b.UntilSaid(want)
	}
}
