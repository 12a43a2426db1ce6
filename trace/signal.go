package trace

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signal is one of the kinds of telemetry, traces or metrics, and where it is sent.
type signal struct {
	name     string
	endpoint string
	own      bool // the endpoint is for this signal alone
	headers  http.Header
	gzip     bool
	timeout  time.Duration
	client   *http.Client
}

// newSignal returns a signal as its variables and the general ones say; nil: nobody wants it.
func newSignal(name string, env func(string) string) (*signal, error) {
	upper := strings.ToUpper(name)
	setting := func(what string) string {
		return cmp.Or(env("OTEL_EXPORTER_OTLP_"+upper+"_"+what), env("OTEL_EXPORTER_OTLP_"+what))
	}
	if env("OTEL_"+upper+"_EXPORTER") == "none" || setting("ENDPOINT") == "" {
		return nil, nil
	}
	s := &signal{name: name, own: env("OTEL_EXPORTER_OTLP_"+upper+"_ENDPOINT") != "", timeout: DefaultTimeout, headers: http.Header{}, gzip: setting("COMPRESSION") == "gzip"}
	switch protocol := setting("PROTOCOL"); protocol {
	case "", "http/json", "http/protobuf": // both are of one port and path
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: stepexec sends http/json only", protocol)
	}
	var err error
	if s.endpoint, err = endpoint(name, env); err != nil {
		return nil, err
	}
	if text := setting("TIMEOUT"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 32)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT=%s: must be a number of milliseconds", text)
		}
		s.timeout = time.Duration(ms) * time.Millisecond
	}
	headers, err := pairs("OTEL_EXPORTER_OTLP_HEADERS", setting("HEADERS"))
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		s.headers.Set(h.Key, h.Value.Text)
	}
	s.client, err = client(setting("CERTIFICATE"))
	return s, err
}

// endpoint is the URL of a signal: its own as it is, or the general one with a path added.
func endpoint(signal string, env func(string) string) (string, error) {
	name := "OTEL_EXPORTER_OTLP_" + strings.ToUpper(signal) + "_ENDPOINT"
	text := env(name)
	if text == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		text = strings.TrimSuffix(env(name), "/") + "/v1/" + signal
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%s: must be a URL such as http://localhost:4318", name) // it may hold a password
	}
	return text, nil
}

func client(certificate string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if certificate != "" {
		pem, err := os.ReadFile(certificate)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s has no certificate", certificate)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the headers may hold a secret
	}}, nil
}

// errUnwanted says that a collector does not take a signal that it was not named for.
var errUnwanted = errors.New("the collector does not take it")

// send posts a message to the collector, once: what a slow collector does not take is dropped.
func (s *signal) send(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("the collector took longer than %v", s.timeout))
	defer cancel()
	headers := s.headers.Clone()
	headers.Set("Content-Type", "application/json")
	if s.gzip {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		body = b.Bytes()
		headers.Set("Content-Encoding", "gzip")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = headers
	answer, err := s.client.Do(r)
	if failed := new(url.Error); errors.As(err, &failed) {
		err = failed.Err // without the address, in which some collectors want a token
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection can be used again
	if answer.StatusCode/100 == 2 {
		return nil
	}
	if unknown := []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}; !s.own && slices.Contains(unknown, answer.StatusCode) {
		return fmt.Errorf("%w: it answered %s", errUnwanted, answer.Status)
	}
	return fmt.Errorf("the collector answered %s", answer.Status)
}
