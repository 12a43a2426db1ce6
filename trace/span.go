package trace

import (
	"encoding/json"
	"strconv"
	"time"
)

// The JSON form of OTLP, as in opentelemetry-proto's ExportTraceServiceRequest. IDs are in
// hexadecimal, and 64-bit numbers are texts.
type request struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resourceOf   `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resourceOf struct {
	Attributes []attribute `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name string `json:"name"`
}

type span struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Parent     string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      nanos       `json:"startTimeUnixNano"`
	End        nanos       `json:"endTimeUnixNano"`
	Attributes []attribute `json:"attributes,omitempty"`
	Status     status      `json:"status"`
}

// The kinds SPAN_KIND_INTERNAL, and SPAN_KIND_SERVER, which the semantic conventions for CI/CD give a
// run ("CICD spans").
const (
	kindInternal = 1
	kindServer   = 2
)

type status struct {
	Code    int    `json:"code,omitempty"` // 1: ok, 2: error
	Message string `json:"message,omitempty"`
}

// nanos is a time as a text of nanoseconds.
type nanos time.Time

// MarshalJSON writes the nanoseconds since 1970 in quotes.
func (n nanos) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(time.Time(n).UnixNano(), 10)), nil
}

// attribute is a name with a text, a number or a truth value.
type attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	Text   string
	Number *int64
	Bool   *bool
}

// MarshalJSON writes the one that is set.
func (v value) MarshalJSON() ([]byte, error) {
	switch {
	case v.Number != nil:
		return json.Marshal(map[string]string{"intValue": strconv.FormatInt(*v.Number, 10)})
	case v.Bool != nil:
		return json.Marshal(map[string]bool{"boolValue": *v.Bool})
	}
	return json.Marshal(map[string]string{"stringValue": v.Text})
}

func textOf(key, text string) attribute { return attribute{key, value{Text: text}} }

func number(key string, n int64) attribute { return attribute{key, value{Number: &n}} }

func flag(key string, set bool) attribute { return attribute{key, value{Bool: &set}} }
