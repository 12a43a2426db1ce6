package trace

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultTimeout bounds the time that a run waits for the collector at its end. It is less than the
// 10 seconds of the specification: a build that waits for its trace costs more than the trace.
const DefaultTimeout = 3 * time.Second

// Tracer makes and sends the traces of runs. A nil Tracer does nothing.
type Tracer struct {
	endpoint string
	headers  http.Header
	gzip     bool
	timeout  time.Duration
	client   *http.Client
	resource []attribute
	seed     []byte // tells trace IDs of this process from all others
	parent   parent // of the spans of runs; zero: none
	warn     func(text string)

	mu   sync.Mutex // guards the rest
	runs map[string]*recorded
	sent sync.WaitGroup
}

// parent is the span that runs belong to, as W3C Trace Context has it.
type parent struct{ trace, span, flags string }

// FromEnvironment returns a tracer as the variables of the OpenTelemetry specification say, and nil
// when they name no collector. warn is called when a trace cannot be sent, maybe from another
// goroutine.
func FromEnvironment(env func(name string) string, warn func(text string)) (*Tracer, error) {
	traces := func(name string) string {
		return cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_"+name), env("OTEL_EXPORTER_OTLP_"+name))
	}
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_EXPORTER") == "none" || traces("ENDPOINT") == "" {
		return nil, nil
	}
	t := &Tracer{timeout: DefaultTimeout, seed: make([]byte, 16), warn: warn, runs: map[string]*recorded{}, headers: http.Header{}}
	_, _ = rand.Read(t.seed) // never fails
	switch protocol := traces("PROTOCOL"); protocol {
	case "", "http/json", "http/protobuf": // both are of one port and path
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: stepexec sends http/json only", protocol)
	}
	var err error
	if t.endpoint, err = endpoint(env); err != nil {
		return nil, err
	}
	if text := traces("TIMEOUT"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 32)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT=%s: must be a number of milliseconds", text)
		}
		t.timeout = time.Duration(ms) * time.Millisecond
	}
	headers, err := pairs("OTEL_EXPORTER_OTLP_HEADERS", traces("HEADERS"))
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		t.headers.Set(h.Key, h.Value.Text)
	}
	t.gzip = traces("COMPRESSION") == "gzip"
	if t.resource, err = resource(env); err != nil {
		return nil, err
	}
	t.parent = parseParent(env("TRACEPARENT"))
	t.client, err = client(traces("CERTIFICATE"))
	return t, err
}

// endpoint is the URL for traces: that of the traces as it is, or the general one with a path added.
func endpoint(env func(string) string) (string, error) {
	name, text := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if text == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		text = strings.TrimSuffix(env(name), "/") + "/v1/traces"
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%s: must be a URL such as http://localhost:4318", name) // it may hold a password
	}
	return text, nil
}

// pairs reads NAME=value pairs between commas, whose values are percent-encoded. The text stays out
// of errors: it may be a secret.
func pairs(name, text string) ([]attribute, error) {
	var all []attribute
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, value, found := strings.Cut(part, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !found || key == "" || err != nil {
			return nil, fmt.Errorf("%s: must be NAME=value pairs between commas", name)
		}
		all = append(all, textOf(key, value))
	}
	return all, nil
}

func resource(env func(string) string) ([]attribute, error) {
	all, err := pairs("OTEL_RESOURCE_ATTRIBUTES", env("OTEL_RESOURCE_ATTRIBUTES"))
	service := env("OTEL_SERVICE_NAME")
	for i := 0; i < len(all); i++ {
		if all[i].Key == "service.name" {
			service = cmp.Or(service, all[i].Value.Text)
			all = append(all[:i], all[i+1:]...)
			i--
		}
	}
	return append([]attribute{textOf("service.name", cmp.Or(service, "stepexec"))}, all...), err
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

var parentForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)
})

// parseParent reads a traceparent; one that is not valid is none, as the specification says.
func parseParent(text string) parent {
	parts := parentForm().FindStringSubmatch(text)
	if parts == nil || strings.HasPrefix(text, "ff") || strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return parent{}
	}
	return parent{parts[1], parts[2], parts[3]}
}
