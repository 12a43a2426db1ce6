package pull

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/signature"
)

// Registries are the settings of registries. Package settings reads them from a file.
type Registries struct {
	// Hosts has the settings of each registry, mirror or redirect target, by lower-case HOST or
	// HOST:PORT as in references. A host's settings apply to that host only: a mirror has its own
	// entry if it needs one.
	Hosts map[string]Host
	// Verify decides which images must be signed. It also applies to images in the store.
	Verify signature.Rules
}

// Host is the settings of one host. The zero value is the default.
type Host struct {
	// Mirrors are asked in this order before the registry itself: HOST[:PORT][/PATH], where PATH is
	// put before the repository's path.
	Mirrors []string
	// CA is a PEM file of certificates that are trusted in addition to the system's.
	CA string
	// Cert and Key are PEM files of the client certificate for this host.
	Cert, Key string
	// HTTP allows plain HTTP: anyone on the path can read and change everything, including
	// credentials.
	HTTP bool
	// SkipVerify accepts any certificate, which is no safer than HTTP.
	SkipVerify bool
	// AllowPrivate are targets in private networks that redirects and token servers of this host
	// may lead to although the host itself is public.
	AllowPrivate Targets
	// ConnectTimeout is how long opening a connection may take, without TLS. 0 means 5 s.
	ConnectTimeout time.Duration
	// StallTimeout is how long the host may send nothing. 0 means Options.StallTimeout.
	StallTimeout time.Duration
}

// WithMirrors returns a copy with mirrors from the command line in front of the existing ones. A
// mirror is written HOST=MIRROR, or MIRROR alone for docker.io. r may be nil.
func (r *Registries) WithMirrors(mirrors []string) (*Registries, error) {
	with := &Registries{Hosts: make(map[string]Host)}
	if r != nil {
		maps.Copy(with.Hosts, r.Hosts)
		with.Verify = r.Verify
	}
	for _, text := range slices.Backward(mirrors) {
		host, mirror, found := strings.Cut(text, "=")
		if !found {
			host, mirror = "docker.io", text
		}
		if err := cmp.Or(checkHost(host), CheckMirror(mirror)); err != nil {
			return nil, fmt.Errorf("registry mirror %q (want HOST=MIRROR, or MIRROR for docker.io): %w", withoutPassword(text), err)
		}
		settings := with.Hosts[hostKey(host)]
		settings.Mirrors = append([]string{mirror}, settings.Mirrors...)
		with.Hosts[hostKey(host)] = settings
	}
	return with, nil
}

// host returns the settings of HOST or HOST:PORT.
func (r *Registries) host(host string) Host {
	if r == nil {
		return Host{}
	}
	return r.Hosts[hostKey(host)]
}

// hostKey returns a host in the form that Registries.Hosts uses.
func hostKey(host string) string {
	host = strings.ToLower(host)
	if host == "registry-1.docker.io" {
		host = "docker.io"
	}
	return shownHost(host)
}

// HostKey returns a registry in the form that Registries.Hosts uses. The error says why the text is
// not HOST or HOST:PORT.
func HostKey(host string) (string, error) { return hostKey(host), checkHost(host) }

// checkHost accepts everything that a reference accepts as its registry.
func checkHost(host string) error {
	if !hostPattern().MatchString(host) {
		return errors.New("it is not HOST or HOST:PORT; leave out https://")
	}
	if first, _ := splitHost(host + "/x"); first == "docker.io" && hostKey(host) != "docker.io" {
		return errors.New("a host needs a dot or a port, or is localhost")
	}
	return nil
}

// CheckMirror returns an error if a mirror is not HOST[:PORT][/PATH].
func CheckMirror(mirror string) error {
	host, path, found := strings.Cut(mirror, "/")
	if err := checkHost(host); err != nil {
		return err
	}
	if found && !repositoryPattern().MatchString(path) {
		return errors.New("what is after the first / is not the beginning of a repository")
	}
	return nil
}

// ownTransport reports whether the host has its own connection settings.
func (h Host) ownTransport() bool {
	return h.usesTLS() || h.ConnectTimeout > 0
}

// scheme returns the scheme that the settings demand, or "" if they leave it open.
func (h Host) scheme() string {
	switch {
	case h.HTTP:
		return "http"
	case h.usesTLS():
		return "https"
	}
	return ""
}

// usesTLS reports whether the settings concern TLS, so that plain HTTP would defeat them.
func (h Host) usesTLS() bool {
	return !h.HTTP && (h.CA != "" || h.Cert != "" || h.SkipVerify)
}

func stallTimeout(h Host, o Options) time.Duration {
	return cmp.Or(h.StallTimeout, o.StallTimeout, defaultStallTimeout)
}

// transport returns a transport for the host. Its errors name the file. It calls asked when the
// host asks for a client certificate and there is none.
func (h Host) transport(reach *reach, asked func()) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: h.SkipVerify}
	if h.CA != "" {
		pem, err := os.ReadFile(h.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no PEM certificate", h.CA)
		}
	}
	if h.Cert == "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked()
			return new(tls.Certificate), nil // no certificate
		}
	} else {
		pair, err := tls.LoadX509KeyPair(h.Cert, h.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	t := NewTransport()
	t.TLSClientConfig = config
	t.ResponseHeaderTimeout = 0 // watch enforces the time limit
	t.DialContext = reach.dialer(cmp.Or(h.ConnectTimeout, connectTimeout))
	return t, nil
}
