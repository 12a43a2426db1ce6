package pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explain turns an error of the registry library into one that says what to do. It never repeats
// bodies or headers of answers: a registry, or an attacker posing as one, can echo the credentials
// of the request in them.
func (e *endpoint) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	asked := e.askedHost(err)
	if plain := new(withoutTLS); hasNoTLS(err) && errors.As(err, &plain) {
		err, asked = plain.error, asked+" (which has no TLS)"
	}
	if reason := explainTLS(err); reason != "" {
		return &failure{fmt.Sprintf("TLS with %s: %s", asked, reason), nil}
	}
	var (
		status  *transport.Error
		network *net.OpError
		refused refusal
		busy    *outOfOrder
	)
	switch {
	case errors.As(err, &busy):
		return e.explainBusy(err, busy)
	case errors.As(err, &refused): // the dialer can refuse too, so this precedes the network errors
		return refused
	case errors.As(err, &network) && (network.Op == "read" || network.Op == "write"):
		return &failure{fmt.Sprintf("the connection to %s broke: %s", asked, scrub(network.Err.Error())), network.Err}
	case errors.As(err, &network):
		return &failure{fmt.Sprintf("cannot reach %s: %s", asked, scrub(network.Err.Error())), network.Err}
	case errors.As(err, &status):
		return e.explainStatus(ctx, status)
	case errors.Is(err, io.EOF):
		return &failure{fmt.Sprintf("%s closed the connection without an answer", asked), nil}
	}
	if requested := new(url.Error); errors.As(err, &requested) {
		err = requested.Err // its text has the URL, whose query can contain a signature
	}
	return &failure{fmt.Sprintf("%s: %s", asked, scrub(err.Error())), nil}
}

// askedHost returns the host that a failed request went to: the registry, its token server or the
// target of a redirect.
func (e *endpoint) askedHost(err error) string {
	if requested := new(url.Error); errors.As(err, &requested) {
		if u, err := url.Parse(requested.URL); err == nil && u.Host != "" {
			return shownHost(u.Host)
		}
	}
	return e.host()
}

// hasNoTLS reports whether a server answered a TLS handshake with something else.
func hasNoTLS(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(tls.RecordHeaderError))
}

func explainTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		remote  *net.OpError
		nobody  *uncertified
	)
	switch {
	case errors.As(err, &unknown):
		return "certificate signed by an unknown authority: add its CA to the system's certificates, or name it in SSL_CERT_FILE or as ca in the registry's settings"
	case errors.As(err, &name):
		return "the certificate is for another name: " + name.Error()
	case errors.As(err, &invalid):
		return invalid.Error()
	case errors.As(err, &verify):
		return verify.Error()
	case errors.As(err, &nobody):
		return "the server asked for a client certificate: name one as cert and key in the registry's settings"
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert
		return fmt.Sprintf("the server ended it (%s): if it wants a client certificate, name a good one as cert and key in the registry's settings", remote.Err)
	}
	return ""
}

// explainStatus explains an HTTP status.
func (e *endpoint) explainStatus(ctx context.Context, status *transport.Error) error {
	denied, unknown := aboutAccess(status, transport.DeniedErrorCode), aboutAccess(status, transport.UnauthorizedErrorCode)
	switch {
	case (status.StatusCode == http.StatusForbidden || denied) && e.credentials.found.Load():
		return &failure{fmt.Sprintf("%s refuses it (HTTP status %d)%s: the credentials are known there but may not have this", e.host(), status.StatusCode, e.said(status)), ErrUnauthorized}
	case status.StatusCode == http.StatusUnauthorized, status.StatusCode == http.StatusForbidden,
		unknown, denied:
		return e.unauthorised(status)
	case status.Request != nil && isPing(status.Request.URL):
		return e.noRegistry(status.StatusCode)
	case says(status, transport.NameUnknownErrorCode):
		return &failure{"no such repository (name unknown)", ErrNotFound}
	case says(status, transport.ManifestUnknownErrorCode):
		return e.unknownManifest(ctx, status.Request)
	case says(status, transport.BlobUnknownErrorCode):
		return &failure{"the registry does not have it (blob unknown)", ErrNotFound}
	case status.StatusCode == http.StatusNotFound:
		return &failure{fmt.Sprintf("%s does not have it (HTTP status 404)", e.host()), ErrNotFound}
	}
	return &failure{fmt.Sprintf("%s answered with HTTP status %d %s%s", e.host(), status.StatusCode, http.StatusText(status.StatusCode), e.said(status)), nil}
}

// explainBusy explains an HTTP status that says "not now", after the last attempt.
func (e *endpoint) explainBusy(err error, busy *outOfOrder) error {
	later := ""
	if busy.after > 0 {
		later = fmt.Sprintf(", and asks to wait for %s", busy.after)
	}
	asked := e.askedHost(err)
	if busy.status == http.StatusTooManyRequests {
		return &failure{fmt.Sprintf("%s limits how often it may be asked (HTTP status 429)%s: wait, or `docker login %[1]s` for a higher limit", asked, later), nil}
	}
	if requested := new(url.Error); errors.As(err, &requested) {
		if u, err := url.Parse(requested.URL); err == nil && isPing(u) {
			return e.noRegistry(busy.status)
		}
	}
	return &failure{fmt.Sprintf("%s is out of order (%s)%s", asked, busy, later), nil}
}

func (e *endpoint) noRegistry(status int) error {
	return &failure{fmt.Sprintf("%s is no registry, or is out of order (GET /v2/: HTTP status %d)", e.host(), status), nil}
}

func (e *endpoint) unauthorised(status *transport.Error) error {
	sent := "no credentials were sent: there are none for it in docker's config.json or $DOCKER_AUTH_CONFIG"
	if e.credentials.found.Load() {
		sent = "the credentials that were sent are not good for it"
	}
	return &failure{fmt.Sprintf("unauthorised at %s, or no such repository (%s)%s: run `docker login %[1]s`", e.host(), sent, e.said(status)), ErrUnauthorized}
}

// unknownManifest tells a missing repository from a missing tag: registries answer both in the same
// way when asked for a manifest.
func (e *endpoint) unknownManifest(ctx context.Context, asked *http.Request) error {
	resp, err := e.get(ctx, "tags/list?n=1", http.Header{})
	if err == nil {
		_ = resp.Body.Close() // it only matters that there is an answer
	}
	if status := new(transport.Error); errors.As(err, &status) && says(status, transport.NameUnknownErrorCode) {
		return &failure{"no such repository (name unknown)", ErrNotFound}
	}
	if asked != nil && strings.Contains(asked.URL.Path, "/manifests/sha256:") {
		return &failure{"no such manifest (manifest unknown)", ErrNotFound}
	}
	return &failure{"no such tag (manifest unknown)", ErrNotFound}
}

func says(e *transport.Error, code transport.ErrorCode) bool {
	return slices.ContainsFunc(e.Errors, func(d transport.Diagnostic) bool { return d.Code == code })
}

// aboutAccess reports whether an error code of an answer is about who asks. Registries also answer
// DENIED with statuses such as 412 and 451, for reasons that no credentials change.
func aboutAccess(e *transport.Error, code transport.ErrorCode) bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return says(e, code)
	}
	return false
}

// isPing reports whether the failed request was the library's first one, which asks whether there
// is a registry at all.
func isPing(u *url.URL) bool { return strings.HasSuffix(u.Path, "/v2/") }

// host returns the registry as users write it.
func (e *endpoint) host() string { return shownHost(e.repository.RegistryStr()) }

func shownHost(host string) string {
	if host == "index.docker.io" {
		return "docker.io"
	}
	return host
}

var (
	userinfo  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(://)[^/\s"@]*@`) })
	query     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\?[^\s"]*`) })
	basicAuth = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)(bearer|basic) [^\s"]+`) })
)

// scrub removes possible secrets from a foreign text: passwords and queries of URLs, authorisation
// headers, and everything after the first line.
func scrub(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s = userinfo().ReplaceAllString(s, "$1***@")
	s = query().ReplaceAllString(s, "?***")
	s = basicAuth().ReplaceAllString(s, "$1 ***")
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}
