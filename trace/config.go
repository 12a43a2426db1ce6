package trace

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// DefaultTimeout bounds the time that a run waits for the collector at its end. It is less than the
// 10 seconds of the specification: a build that waits for its trace costs more than the trace.
const DefaultTimeout = 3 * time.Second

// Tracer sends the traces and the metrics of runs. A nil Tracer does nothing.
type Tracer struct {
	traces, metrics *signal // nil: not sent
	resource        []attribute
	seed            []byte // tells trace IDs of this process from all others
	parent          parent // of the spans of runs; zero: none
	warn            func(text string)
	sent            sync.WaitGroup
	sending         context.Context // of all that is sent
	giveUp          context.CancelCauseFunc
}

// parent is the span that runs belong to, as W3C Trace Context has it.
type parent struct{ trace, span, flags string }

// FromEnvironment returns a tracer as the variables of the OpenTelemetry specification say, and nil
// when they name no collector. warn is called when something cannot be sent, maybe from another
// goroutine.
func FromEnvironment(env func(name string) string, warn func(text string)) (*Tracer, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	t := &Tracer{seed: make([]byte, 16), warn: warn}
	_, _ = rand.Read(t.seed) // never fails
	var err error
	if t.traces, err = newSignal("traces", env); err != nil {
		return nil, err
	}
	if t.metrics, err = newSignal("metrics", env); err != nil {
		return nil, err
	}
	if t.traces == nil && t.metrics == nil {
		return nil, nil
	}
	if t.resource, err = resource(env); err != nil {
		return nil, err
	}
	t.parent = parseParent(env("TRACEPARENT"))
	t.sending, t.giveUp = context.WithCancelCause(context.Background())
	return t, nil
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
