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
	// Hosts has the settings of each registry, mirror or host that these redirect to,
	// by HOST or HOST:PORT as references have it, in lower case. Settings of a host
	// apply to nothing else: a mirror has an entry of its own if it needs one.
	Hosts map[string]Host
	// Verify says which images must be signed. It holds for what is in the store, too.
	Verify signature.Rules
}

// Host are the settings of one host. The zero value is the default.
type Host struct {
	// Mirrors are asked in this order before the registry itself: HOST[:PORT][/PATH],
	// where PATH comes before the repository's.
	Mirrors []string
	// CA is a PEM file of certificates that are trusted beside the system's.
	CA string
	// Cert and Key are PEM files of the client certificate that the host is shown.
	Cert, Key string
	// HTTP is to use plain HTTP: who is on the path reads and changes everything,
	// credentials included.
	HTTP bool
	// SkipVerify is to accept any certificate, which is no better.
	SkipVerify bool
	// AllowPrivate are targets that a redirect or a token server of this host may lead to
	// though they are in a private network and the host is not.
	AllowPrivate Targets
	// ConnectTimeout is how long a connection may take, without TLS. 0 is 5 s.
	ConnectTimeout time.Duration
	// StallTimeout is how long the host may send nothing. 0 is that of Options.
	StallTimeout time.Duration
}

// WithMirrors returns a copy with mirrors from the command line in front of those
// that are there. A mirror is written HOST=MIRROR, or MIRROR alone for one of
// docker.io. r may be nil.
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

// hostKey returns a host as it is written in Registries.Hosts.
func hostKey(host string) string {
	host = strings.ToLower(host)
	if host == "registry-1.docker.io" {
		host = "docker.io"
	}
	return shownHost(host)
}

// HostKey returns a registry as Registries.Hosts has it. The error says why the text
// is not HOST or HOST:PORT.
func HostKey(host string) (string, error) { return hostKey(host), checkHost(host) }

// checkHost accepts what a reference accepts as its registry.
func checkHost(host string) error {
	if !hostPattern().MatchString(host) {
		return errors.New("it is not HOST or HOST:PORT; leave out https://")
	}
	if first, _ := splitHost(host + "/x"); first == "docker.io" && hostKey(host) != "docker.io" {
		return errors.New("a host needs a dot or a port, or is localhost")
	}
	return nil
}

// CheckMirror says why a mirror is not HOST[:PORT][/PATH], or returns nil.
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

// ownTransport reports whether connections to the host differ from others.
func (h Host) ownTransport() bool {
	return h.usesTLS() || h.ConnectTimeout > 0
}

// scheme returns what the settings ask for, "" if they leave it open.
func (h Host) scheme() string {
	switch {
	case h.HTTP:
		return "http"
	case h.usesTLS():
		return "https"
	}
	return ""
}

// usesTLS reports whether the settings are about TLS, so that plain HTTP would
// betray them.
func (h Host) usesTLS() bool {
	return !h.HTTP && (h.CA != "" || h.Cert != "" || h.SkipVerify)
}

func stallTimeout(h Host, o Options) time.Duration {
	return cmp.Or(h.StallTimeout, o.StallTimeout, defaultStallTimeout)
}

// transport returns a transport for the host. Its errors name the file. asked is
// called when the host asks for a client certificate and there is none.
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
			return new(tls.Certificate), nil // none
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
	t.ResponseHeaderTimeout = 0 // a watch does that
	t.DialContext = reach.dialer(cmp.Or(h.ConnectTimeout, connectTimeout))
	return t, nil
}
