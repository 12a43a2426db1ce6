package trace

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/stepexec/stepexec/event"
)

// The JSON form of OTLP's metrics, as in opentelemetry-proto's ExportMetricsServiceRequest.
type metricsRequest struct {
	ResourceMetrics []resourceMetrics `json:"resourceMetrics"`
}

type resourceMetrics struct {
	Resource     resourceOf     `json:"resource"`
	ScopeMetrics []scopeMetrics `json:"scopeMetrics"`
}

type scopeMetrics struct {
	Scope   scope    `json:"scope"`
	Metrics []metric `json:"metrics"`
}

type metric struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Unit        string  `json:"unit"`
	Histogram   *points `json:"histogram,omitempty"`
	Sum         *points `json:"sum,omitempty"`
}

type points struct {
	DataPoints  []point `json:"dataPoints"`
	Temporality int     `json:"aggregationTemporality"`
	IsMonotonic bool    `json:"isMonotonic,omitempty"`
}

// delta is AGGREGATION_TEMPORALITY_DELTA: each run is sent by itself, and the collector adds them up.
const delta = 1

type point struct {
	Attributes []attribute `json:"attributes"`
	Start      nanos       `json:"startTimeUnixNano"`
	Time       nanos       `json:"timeUnixNano"`
	Count      string      `json:"count,omitempty"` // of a histogram
	Sum        *float64    `json:"sum,omitempty"`
	Buckets    []string    `json:"bucketCounts,omitempty"`
	Bounds     []float64   `json:"explicitBounds,omitempty"`
	Int        string      `json:"asInt,omitempty"` // of a sum
}

// pulled is an image that was fetched.
type pulled struct {
	image  string
	failed bool
	took   time.Duration
}

// metricsOf makes the metrics of a run that has ended: of the semantic conventions for CI/CD, and
// stepexec's own.
func (r *Run) metricsOf(e *event.Event) any {
	s := e.Summary
	pipeline := textOf("cicd.pipeline.name", s.Name)
	duration := func(took time.Duration, of ...attribute) point { return r.duration(e.Time, took, of) }
	runs := []point{duration(e.Time.Sub(r.started), pipeline, textOf("cicd.pipeline.result", resultOf(s.Status)), textOf("cicd.pipeline.run.state", "executing"))}
	var steps, pulls []point
	restored := map[[2]string]int{} // by the names of caches and what they got
	for i := range s.Steps {
		step := &s.Steps[i]
		for _, c := range step.Caches {
			restored[[2]string{c.Name, c.Restored}]++
		}
		if !step.Started.IsZero() && len(steps) < maxSpans {
			steps = append(steps, duration(time.Duration(step.Duration), pipeline, textOf("cicd.pipeline.task.name", step.Step), textOf("cicd.pipeline.task.run.result", resultOf(step.Status))))
		}
	}
	for _, p := range r.pulled[:min(len(r.pulled), maxSpans)] {
		result := "success"
		if p.failed {
			result = "failure"
		}
		pulls = append(pulls, duration(p.took, textOf("container.image.name", p.image), textOf("stepexec.pull.result", result)))
	}
	all := []metric{{Name: "cicd.pipeline.run.duration", Description: "Duration of a run", Unit: "s", Histogram: &points{DataPoints: runs, Temporality: delta}}}
	for _, m := range []metric{
		{Name: "stepexec.step.duration", Description: "Duration of a step", Unit: "s", Histogram: &points{DataPoints: steps, Temporality: delta}},
		{Name: "stepexec.pull.duration", Description: "Time until an image was in the store", Unit: "s", Histogram: &points{DataPoints: pulls, Temporality: delta}},
	} {
		if len(m.Histogram.DataPoints) > 0 {
			all = append(all, m)
		}
	}
	if len(restored) > 0 {
		all = append(all, metric{Name: "stepexec.cache.restores", Description: "Keyed caches of steps, by what they got", Unit: "{restore}", Sum: &points{DataPoints: r.restores(e.Time, restored), Temporality: delta, IsMonotonic: true}})
	}
	return metricsRequest{[]resourceMetrics{{resourceOf{r.tracer.resource}, []scopeMetrics{{scope{"stepexec"}, all}}}}}
}

// bounds are those of the histograms, in seconds.
var bounds = []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}

// duration is a histogram of one value.
func (r *Run) duration(at time.Time, took time.Duration, of []attribute) point {
	seconds := took.Seconds()
	buckets := make([]string, len(bounds)+1)
	for i := range buckets {
		buckets[i] = "0"
	}
	at0, _ := slices.BinarySearch(bounds, seconds) // a bound belongs to the bucket that it ends
	buckets[at0] = "1"
	return point{Attributes: of, Start: nanos(r.started), Time: nanos(at), Count: "1", Sum: &seconds, Buckets: buckets, Bounds: bounds}
}

func (r *Run) restores(at time.Time, counts map[[2]string]int) []point {
	var all []point
	for of, count := range counts {
		attributes := []attribute{textOf("stepexec.cache.name", of[0]), textOf("stepexec.cache.restored", of[1])}
		all = append(all, point{Attributes: attributes, Start: nanos(r.started), Time: nanos(at), Int: strconv.Itoa(count)})
	}
	slices.SortFunc(all, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.Attributes[0].Value.Text, b.Attributes[0].Value.Text), cmp.Compare(a.Attributes[1].Value.Text, b.Attributes[1].Value.Text))
	})
	return all
}
