package trace_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/trace"
)

// sentMetrics is what a collector decodes of an ExportMetricsServiceRequest.
type sentMetrics struct {
	ResourceMetrics []struct {
		Resource     struct{ Attributes []attribute }
		ScopeMetrics []struct {
			Metrics []struct {
				Name, Unit     string
				Histogram, Sum *struct {
					AggregationTemporality int
					IsMonotonic            bool
					DataPoints             []point
				}
			}
		}
	}
}

type point struct {
	Attributes                      []attribute
	StartTimeUnixNano, TimeUnixNano int64 `json:",string"`
	Count, AsInt                    string
	Sum                             float64
	BucketCounts                    []string
	ExplicitBounds                  []float64
}

// lines are the points of all metrics, a line each.
func (s sentMetrics) lines(t *testing.T) (lines []string) {
	for _, m := range s.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		of := m.Histogram
		if of == nil {
			of = m.Sum
		}
		if of.AggregationTemporality != 1 || (m.Sum != nil) != of.IsMonotonic {
			t.Errorf("%s has the temporality %d, monotonic %v", m.Name, of.AggregationTemporality, of.IsMonotonic)
		}
		for _, p := range of.DataPoints {
			var about []string
			for _, a := range p.Attributes {
				about = append(about, a.Value.StringValue)
			}
			line := fmt.Sprintf("%s [%s] %s", m.Name, strings.Join(about, " "), p.AsInt)
			if m.Histogram != nil {
				line = fmt.Sprintf("%s [%s] %s of %g%s in %d", m.Name, strings.Join(about, " "), p.Count, p.Sum, m.Unit, slices.Index(p.BucketCounts, "1"))
				if len(p.BucketCounts) != len(p.ExplicitBounds)+1 {
					t.Errorf("%s has %d buckets for %d bounds", m.Name, len(p.BucketCounts), len(p.ExplicitBounds))
				}
			}
			if p.StartTimeUnixNano != start.UnixNano() || p.TimeUnixNano != start.Add(5*time.Second).UnixNano() {
				t.Errorf("%s is of %d to %d", m.Name, p.StartTimeUnixNano, p.TimeUnixNano)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func TestARunHasMetrics(t *testing.T) {
	for _, env := range []map[string]string{{}, {"OTEL_TRACES_EXPORTER": "none"}} {
		c := newCollector(t, http.StatusOK)
		env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_EXPORTER_OTLP_TIMEOUT"] = c.URL, "60000"
		tracer, err := trace.FromEnvironment(environment(env), func(text string) { t.Error(text) })
		if err != nil {
			t.Fatal(err)
		}
		if parent := tracer.Run("r1").Parent("build"); (parent == "") != (env["OTEL_TRACES_EXPORTER"] == "none") {
			t.Errorf("%v: a step has the parent %q", env, parent)
		}
		tell(tracer)
		tracer.Close(nil)
		if len(c.metrics) != 1 || (len(c.got) > 0) == (env["OTEL_TRACES_EXPORTER"] == "none") {
			t.Fatalf("%v: %d traces, %d messages of metrics", env, len(c.got), len(c.metrics))
		}
		got, want := c.metrics[0].lines(t), []string{
			"cicd.pipeline.run.duration [ci failure executing] 1 of 5s in 3",
			"stepexec.step.duration [ci build success] 1 of 0.5s in 1",
			"stepexec.step.duration [ci test failure] 1 of 0.005s in 0",
			"stepexec.pull.duration [golang success] 1 of 1s in 2",
			"stepexec.cache.restores [go whole key] 2",
			"stepexec.cache.restores [npm nothing] 1",
		}
		if !slices.Equal(got, want) {
			t.Errorf("metrics:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A collector of traces alone, such as Jaeger, answers 404 to metrics that nobody named it for.
func TestACollectorOfTracesAloneIsNoWarning(t *testing.T) {
	c := newCollector(t, http.StatusNotFound)
	for _, test := range []struct {
		env      map[string]string
		warnings int
	}{
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_TRACES_EXPORTER": "none"}, 0},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": c.URL + "/v1/metrics"}, 1},
	} {
		var warnings []string
		test.env["OTEL_EXPORTER_OTLP_TIMEOUT"] = "60000"
		tracer, err := trace.FromEnvironment(environment(test.env), func(text string) { warnings = append(warnings, text) })
		if err != nil {
			t.Fatal(err)
		}
		tell(tracer)
		tracer.Close(nil)
		if len(warnings) != test.warnings {
			t.Errorf("%v: warnings %q", test.env, warnings)
		}
	}
}

// The address of a collector may have a token in it, and the log of a run is for all.
func TestAWarningDoesNotShowTheAddressOfTheCollector(t *testing.T) {
	var warnings []string
	tracer, err := trace.FromEnvironment(environment(map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces?token=hunter2"}), func(text string) { warnings = append(warnings, text) })
	if err != nil {
		t.Fatal(err)
	}
	tell(tracer)
	tracer.Close(nil)
	if len(warnings) != 1 || strings.Contains(warnings[0], "hunter2") || !strings.Contains(warnings[0], "the traces were not sent: ") {
		t.Errorf("warnings %q", warnings)
	}
}

// Runs of one process that go on at once are not mixed up.
func TestRunsAtOnceAreTracesOfTheirOwn(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	tracer, err := trace.FromEnvironment(environment(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_EXPORTER_OTLP_TIMEOUT": "60000"}), func(text string) { t.Error(text) })
	if err != nil {
		t.Fatal(err)
	}
	one, two := tracer.Run("r1"), tracer.Run("r2")
	for _, r := range []*trace.Run{one, two} {
		r.Event(event.Event{Kind: event.RunStarted, Time: start})
	}
	for name, r := range map[string]*trace.Run{"one": one, "two": two} {
		r.Event(event.Event{Kind: event.RunFinished, Time: start.Add(time.Second), Summary: &event.Summary{Name: name, Status: event.Succeeded}})
	}
	tracer.Close(nil)
	ids := map[string]string{}
	for _, got := range c.got {
		root := got.ResourceSpans[0].ScopeSpans[0].Spans[0]
		ids[root.Name] = root.TraceID
	}
	if len(ids) != 2 || ids["RUN one"] == ids["RUN two"] {
		t.Errorf("traces %v", ids)
	}
}
