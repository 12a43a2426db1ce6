package pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explain turns an error of the registry library into one that says what to do. It
// repeats neither bodies nor headers of answers: a registry, or who poses as one,
// can echo the credentials of the request in them.
func (r *registry) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	asked := r.askedHost(err)
	if reason := explainTLS(err); reason != "" {
		return &failure{fmt.Sprintf("TLS with %s: %s", asked, reason), nil}
	}
	var (
		status  *transport.Error
		network *net.OpError
		refused refusal
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch) && !isLoopback(hostname(asked)):
		return refusePlainHTTP(asked)
	case errors.As(err, &network):
		return &failure{fmt.Sprintf("cannot reach %s: %s", asked, scrub(network.Err.Error())), network.Err}
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &status):
		return r.explainStatus(ctx, status)
	}
	if requested := new(url.Error); errors.As(err, &requested) {
		err = requested.Err // its text has the URL, whose query can be a signature
	}
	return &failure{fmt.Sprintf("%s: %s", asked, scrub(err.Error())), nil}
}

// askedHost returns the host that a failed request went to: the registry, its token
// server or where it redirects to.
func (r *registry) askedHost(err error) string {
	if requested := new(url.Error); errors.As(err, &requested) {
		if u, err := url.Parse(requested.URL); err == nil && u.Host != "" {
			return shownHost(u.Host)
		}
	}
	return r.host()
}

func explainTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return "certificate signed by an unknown authority: add its CA to the system's certificates or name it in SSL_CERT_FILE"
	case errors.As(err, &name):
		return "the certificate is for another name: " + name.Error()
	case errors.As(err, &invalid):
		return invalid.Error()
	case errors.As(err, &verify):
		return verify.Error()
	}
	return ""
}

// explainStatus explains an HTTP status.
func (r *registry) explainStatus(ctx context.Context, e *transport.Error) error {
	switch {
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden,
		says(e, transport.UnauthorizedErrorCode), says(e, transport.DeniedErrorCode):
		return r.unauthorised()
	case isPing(e):
		return &failure{fmt.Sprintf("%s is no registry, or is out of order (GET /v2/: HTTP status %d)", r.host(), e.StatusCode), nil}
	case says(e, transport.NameUnknownErrorCode):
		return &failure{"no such repository (name unknown)", ErrNotFound}
	case says(e, transport.ManifestUnknownErrorCode):
		return r.unknownManifest(ctx)
	case says(e, transport.BlobUnknownErrorCode):
		return &failure{"the registry does not have it (blob unknown)", ErrNotFound}
	case e.StatusCode == http.StatusNotFound:
		return &failure{fmt.Sprintf("%s does not have it (HTTP status 404)", r.host()), ErrNotFound}
	case e.StatusCode == http.StatusTooManyRequests:
		return &failure{fmt.Sprintf("%s limits how often it may be asked (HTTP status 429): wait, or `docker login %[1]s` for a higher limit", r.host()), nil}
	}
	return &failure{fmt.Sprintf("%s answered with HTTP status %d %s", r.host(), e.StatusCode, http.StatusText(e.StatusCode)), nil}
}

func (r *registry) unauthorised() error {
	sent := "no credentials were sent: there are none for it in docker's config.json"
	if r.credentials.found.Load() {
		sent = "the credentials that were sent are not good for it"
	}
	return &failure{fmt.Sprintf("unauthorised at %s, or no such repository (%s): run `docker login %[1]s`", r.host(), sent), ErrUnauthorized}
}

// unknownManifest tells a missing repository from a missing tag: registries answer
// both alike when asked for a manifest.
func (r *registry) unknownManifest(ctx context.Context) error {
	_, err := r.puller.Lister(ctx, r.repository)
	if status := new(transport.Error); errors.As(err, &status) && says(status, transport.NameUnknownErrorCode) {
		return &failure{"no such repository (name unknown)", ErrNotFound}
	}
	if r.ref.Digest != "" {
		return &failure{"no such manifest (manifest unknown)", ErrNotFound}
	}
	return &failure{"no such tag (manifest unknown)", ErrNotFound}
}

func says(e *transport.Error, code transport.ErrorCode) bool {
	return slices.ContainsFunc(e.Errors, func(d transport.Diagnostic) bool { return d.Code == code })
}

// isPing reports whether it was the library's first request that failed, which asks
// whether there is a registry at all.
func isPing(e *transport.Error) bool {
	return e.Request != nil && strings.HasSuffix(e.Request.URL.Path, "/v2/")
}

// host returns the registry as users write it.
func (r *registry) host() string { return shownHost(r.repository.RegistryStr()) }

func shownHost(host string) string {
	if host == "index.docker.io" {
		return "docker.io"
	}
	return host
}

var (
	userinfo  = regexp.MustCompile(`(://)[^/\s"@]*@`)
	query     = regexp.MustCompile(`\?[^\s"]*`)
	basicAuth = regexp.MustCompile(`(?i)(bearer|basic) [^\s"]+`)
)

// scrub takes what may be secret out of a text that is not ours: passwords and
// queries of URLs, authorisation headers, and all but the first line.
func scrub(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s = userinfo.ReplaceAllString(s, "$1***@")
	s = query.ReplaceAllString(s, "?***")
	s = basicAuth.ReplaceAllString(s, "$1 ***")
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}
