package trace_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/trace"
)

// sent is what a collector decodes of an ExportTraceServiceRequest.
type sent struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes []attribute }
		ScopeSpans []struct{ Spans []span }
	}
}

type span struct {
	Kind                                int
	TraceID, SpanID, ParentSpanID, Name string
	StartTimeUnixNano, EndTimeUnixNano  int64 `json:",string"`
	Attributes                          []attribute
	Status                              struct {
		Code    int
		Message string
	}
}

type attribute struct {
	Key   string
	Value struct {
		StringValue, IntValue string
		BoolValue             bool
	}
}

// collector answers with a status and keeps what it got.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	got     []sent
	metrics []sentMetrics
	headers []http.Header
}

func newCollector(t *testing.T, status int) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		if r.URL.Path == "/v1/metrics" {
			c.mu.Lock()
			defer c.mu.Unlock()
			var one sentMetrics
			if err := json.NewDecoder(body).Decode(&one); err != nil {
				t.Errorf("the body of %s: %v", r.URL, err)
			}
			c.metrics = append(c.metrics, one)
			w.WriteHeader(status)
			return
		}
		var one sent
		if err := json.NewDecoder(body).Decode(&one); err != nil {
			t.Errorf("the body of %s: %v", r.URL, err)
		}
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("posted to %s as %s", r.URL, r.Header.Get("Content-Type"))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got, c.headers = append(c.got, one), append(c.headers, r.Header)
		w.WriteHeader(status)
	}))
	t.Cleanup(c.Close)
	return c
}

func environment(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// tell tells a tracer of a run with a step that succeeds and one that fails.
func tell(tracer *trace.Tracer) {
	t := tracer.Run("r1")
	ms := func(n int) event.Millis { return event.Millis(time.Duration(n) * time.Millisecond) }
	steps := []event.StepResult{
		{Step: "build", Image: "golang", Digest: "sha256:ab", Status: event.Succeeded, Prepared: start.Add(time.Second), Pull: ms(100), Create: ms(50),
			Started: start.Add(2 * time.Second), Start: ms(10), Duration: ms(500), Caches: []event.CacheUse{{Name: "go", Restored: "whole key"}, {Name: "npm", Restored: "nothing"}}, Usage: &event.Usage{User: ms(7), PeakMemory: 1 << 40}},
		{Step: "test", Image: "golang", Status: event.Failed, ExitCode: 3, Error: "no luck", Prepared: start.Add(3 * time.Second), Started: start.Add(4 * time.Second), Duration: ms(5), Caches: []event.CacheUse{{Name: "go", Restored: "whole key"}}},
		{Step: "deploy", Status: event.Skipped},
	}
	t.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r1", Name: "ci"})
	t.Event(event.Event{Kind: event.PullStarted, Time: start, Image: "golang"})
	t.Event(event.Event{Kind: event.PullFinished, Time: start.Add(time.Second), Image: "golang", Digest: "sha256:ab"})
	t.Event(event.Event{Kind: event.RunFinished, Time: start.Add(5 * time.Second), Summary: &event.Summary{Run: "r1", Name: "ci", Status: event.Failed, ExitCode: 3, Steps: steps}})
}

func spans(t *testing.T, c *collector) map[string]span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 1 {
		t.Fatalf("the collector got %d requests", len(c.got))
	}
	all := map[string]span{}
	for _, s := range c.got[0].ResourceSpans[0].ScopeSpans[0].Spans {
		all[s.Name+" of "+s.ParentSpanID] = s
		all[s.Name] = s
	}
	return all
}

func TestARunIsATrace(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	tracer, err := trace.FromEnvironment(environment(map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL + "/", "OTEL_EXPORTER_OTLP_TIMEOUT": "60000", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc, x=1", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
		"OTEL_RESOURCE_ATTRIBUTES": "team=a%2Cb,service.name=other", "OTEL_SERVICE_NAME": "ours",
	}), func(text string) { t.Error(text) })
	if err != nil {
		t.Fatal(err)
	}
	parentOfBuild := tracer.Run("r1").Parent("build")
	tell(tracer)
	tracer.Close(nil)
	all := spans(t, c)
	run, build, failed := all["RUN ci"], all["step build"], all["step test"]
	if run.ParentSpanID != "" || build.ParentSpanID != run.SpanID || failed.ParentSpanID != run.SpanID || all["pull golang"].ParentSpanID != run.SpanID {
		t.Errorf("the spans hang together wrongly: %+v", all)
	}
	if want := "00-" + run.TraceID + "-" + build.SpanID + "-01"; parentOfBuild != want || !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(want) {
		t.Errorf("TRACEPARENT is %s, want %s", parentOfBuild, want)
	}
	if run.Status.Code != 2 || build.Status.Code != 1 || failed.Status.Code != 2 || failed.Status.Message != "no luck" {
		t.Errorf("status of run %v, build %v, test %v", run.Status, build.Status, failed.Status)
	}
	if _, there := all["step deploy"]; there {
		t.Error("a step that never began has a span")
	}
	for _, name := range []string{"image", "create", "start", "wait"} {
		s, there := all[name+" of "+build.SpanID]
		if !there || s.StartTimeUnixNano < build.StartTimeUnixNano || s.EndTimeUnixNano > build.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("phase %s of build: %+v, of %+v", name, s, build)
		}
	}
	attributes := map[string]string{}
	for _, a := range build.Attributes {
		attributes[a.Key] = a.Value.StringValue + a.Value.IntValue
	}
	for key, want := range map[string]string{"cicd.pipeline.task.name": "build", "oci.manifest.digest": "sha256:ab", "process.exit.code": "0", "stepexec.peak_memory_bytes": "1099511627776"} {
		if attributes[key] != want {
			t.Errorf("%s is %q, want %q", key, attributes[key], want)
		}
	}
	for _, test := range []struct {
		span span
		want string
	}{{run, "exit 3"}, {failed, "exit 3"}, {build, ""}} {
		kind := ""
		for _, a := range test.span.Attributes {
			if a.Key == "error.type" {
				kind = a.Value.StringValue
			}
		}
		if kind != test.want {
			t.Errorf("%s: error.type is %q, want %q", test.span.Name, kind, test.want)
		}
	}
	if run.Kind != 2 || build.Kind != 1 { // SERVER and INTERNAL
		t.Errorf("kind of the run %d, of a step %d", run.Kind, build.Kind)
	}
	resource := map[string]string{}
	for _, a := range c.got[0].ResourceSpans[0].Resource.Attributes {
		resource[a.Key] = a.Value.StringValue
	}
	if resource["service.name"] != "ours" || resource["team"] != "a,b" || c.headers[0].Get("Authorization") != "Bearer abc" {
		t.Errorf("resource %v, headers %v", resource, c.headers[0])
	}
}

func TestARunBelongsToItsParent(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for parent, want := range map[string]string{
		"00-" + id + "-b7ad6b7169203331-01": id, "00-" + id + "-b7ad6b7169203331-00": "", // not sampled
		"00-" + id + "-0000000000000000-01": "its own", "nonsense": "its own", "ff-" + id + "-b7ad6b7169203331-01": "its own",
	} {
		c := newCollector(t, http.StatusOK)
		tracer, err := trace.FromEnvironment(environment(map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.URL + "/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "60000", "TRACEPARENT": parent}), func(text string) { t.Error(text) })
		if err != nil {
			t.Fatal(err)
		}
		tell(tracer)
		tracer.Close(nil)
		if want == "" {
			if len(c.got) > 0 {
				t.Errorf("%s: a trace that is not sampled was sent", parent)
			}
			continue
		}
		run := spans(t, c)["RUN ci"]
		if ours := run.TraceID == id && run.ParentSpanID == "b7ad6b7169203331"; ours != (want == id) {
			t.Errorf("%s: the run has the trace %s and the parent %s", parent, run.TraceID, run.ParentSpanID)
		}
	}
}

func TestNothingHappensWithoutACollector(t *testing.T) {
	for _, env := range []map[string]string{
		{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
	} {
		tracer, err := trace.FromEnvironment(environment(env), nil)
		if tracer != nil || err != nil {
			t.Errorf("%v: %v, %v", env, tracer, err)
		}
		tell(tracer)
		tracer.Close(nil)
		if tracer.Run("r1").Parent("build") != "" {
			t.Error("a step gets a parent")
		}
	}
}

func TestBadSettingsAreReportedWithoutTheirSecrets(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "user:s3cret@host", "OTEL_EXPORTER_OTLP_HEADERS": "s3cret", "OTEL_EXPORTER_OTLP_TIMEOUT": "-1",
		"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file", "OTEL_RESOURCE_ATTRIBUTES": "=x",
	} {
		env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}
		env[name] = value
		if _, err := trace.FromEnvironment(environment(env), nil); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}

func TestACollectorThatHangsHoldsNobodyUpWhoHasInterruptedAgain(t *testing.T) {
	hangs := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	t.Cleanup(func() { close(hangs); slow.Close() })
	warnings := make(chan string, 2)
	tracer, err := trace.FromEnvironment(environment(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": slow.URL, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000000"}), func(text string) { warnings <- text })
	if err != nil {
		t.Fatal(err)
	}
	tell(tracer)
	kill, closed := make(chan struct{}), make(chan struct{})
	close(kill)
	go func() {
		defer close(closed)
		tracer.Close(kill)
	}()
	select {
	case <-closed:
	case <-time.After(2 * time.Minute):
		t.Fatal("the tracer has not been closed in 2 minutes")
	}
	for range 2 { // of the trace and of the metrics
		if warning := <-warnings; !strings.Contains(warning, "interrupted again") {
			t.Error(warning)
		}
	}
}

func TestATraceThatCannotBeSentIsAWarning(t *testing.T) {
	hangs := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(hangs); slow.Close() })
	elsewhere := newCollector(t, http.StatusOK)
	redirects := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/v1/traces", http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	for url, want := range map[string]string{
		slow.URL: "took longer than 50ms", newCollector(t, http.StatusServiceUnavailable).URL: "503", redirects.URL: "307", "http://127.0.0.1:1": "refused",
	} {
		var mu sync.Mutex
		var warnings []string
		tracer, err := trace.FromEnvironment(environment(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "50"}), func(text string) {
			mu.Lock()
			defer mu.Unlock()
			warnings = append(warnings, text)
		})
		if err != nil {
			t.Fatal(err)
		}
		tell(tracer)
		tracer.Close(nil)
		if len(warnings) != 2 { // of the trace and of the metrics
			t.Errorf("%s: warnings %v", want, warnings)
		}
		for _, warning := range warnings {
			if !strings.Contains(warning, want) && !strings.Contains(warning, "took longer") {
				t.Errorf("warning %s, want %s", warning, want)
			}
		}
	}
	if len(elsewhere.got) > 0 {
		t.Error("a redirect was followed, with the headers")
	}
}
