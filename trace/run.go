package trace

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
)

// maxSpans bounds a trace: the steps of a run have some five spans each.
const maxSpans = 10_000

// Run notes what happens in one run, and sends it at the run's end. A nil Run does nothing.
type Run struct {
	tracer *Tracer
	id     string

	mu      sync.Mutex // guards the rest
	cell    string
	started time.Time
	pulls   map[string]time.Time // when the pulls of images began
	spans   []span
	pulled  []pulled
}

// Run returns what is told of the events of a run.
func (t *Tracer) Run(id string) *Run {
	if t == nil {
		return nil
	}
	return &Run{tracer: t, id: id, pulls: map[string]time.Time{}}
}

func id(bytes int, parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%q", part)
	}
	return hex.EncodeToString(h.Sum(nil)[:bytes])
}

func (r *Run) traceID() string {
	if r.tracer.parent.trace != "" {
		return r.tracer.parent.trace
	}
	return id(16, string(r.tracer.seed), r.id)
}

func (r *Run) spanID(of ...string) string {
	return id(8, append([]string{string(r.tracer.seed), r.id}, of...)...)
}

// Parent is the traceparent for a step of the run: whatever the step does belongs to its span. It is
// "" when no traces are sent.
func (r *Run) Parent(step string) string {
	if r == nil || r.tracer.traces == nil {
		return ""
	}
	flags := "01" // sampled
	if r.tracer.parent.trace != "" {
		flags = r.tracer.parent.flags
	}
	return "00-" + r.traceID() + "-" + r.spanID(step) + "-" + flags
}

// Event notes an event of the run. With the last one, the trace and the metrics are sent in the
// background.
func (r *Run) Event(e event.Event) {
	if r == nil || e.Kind == event.Line || e.Kind == event.PullProgress {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case event.RunStarted:
		r.cell, r.started = e.Cell, e.Time
	case event.PullStarted:
		r.pulls[e.Image] = e.Time
	case event.PullFinished:
		if began, ok := r.pulls[e.Image]; ok {
			r.add(r.pull(&e, began))
			r.pulled = append(r.pulled, pulled{e.Image, e.Error != "", e.Time.Sub(began)})
		}
	case event.RunFinished:
		if e.Summary != nil && !r.started.IsZero() {
			r.tracer.post(r.tracer.traces, r.traceOf(&e))
			r.tracer.post(r.tracer.metrics, r.metricsOf(&e))
		}
	}
}

// post sends a message in the background; nil: there is nothing to send.
func (t *Tracer) post(to *signal, message any) {
	if to == nil || message == nil {
		return
	}
	body, err := json.Marshal(message)
	if err != nil {
		t.warn(fmt.Sprintf("warning: the %s were not sent: %v", to.name, err))
		return
	}
	t.sent.Go(func() {
		if err := to.send(t.sending, body); err != nil && !errors.Is(err, errUnwanted) {
			t.warn(fmt.Sprintf("warning: the %s were not sent: %v", to.name, err))
		}
	})
}

func (r *Run) add(s span) {
	if len(r.spans) < maxSpans {
		r.spans = append(r.spans, s)
	}
}

func (r *Run) pull(e *event.Event, began time.Time) span {
	return span{
		TraceID: r.traceID(), SpanID: r.spanID("", e.Image), Parent: r.spanID(),
		Name: "pull " + e.Image, Kind: kindInternal, Start: nanos(began), End: nanos(e.Time), Status: failed(e.Error != "", e.Error),
		Attributes: []attribute{textOf("container.image.name", e.Image), textOf("oci.manifest.digest", e.Digest)},
	}
}

func failed(is bool, why string) status {
	if is {
		return status{2, why}
	}
	return status{Code: 1}
}

// resultOf is the word of the semantic conventions for how a step or a run ended.
func resultOf(s event.Status) string {
	switch s {
	case event.Succeeded, event.Stopped:
		return "success"
	case event.Skipped:
		return "skip"
	case event.Cancelled:
		return "cancellation"
	case event.TimedOut:
		return "timeout"
	}
	return "failure"
}

// errorType is a word, of few that there are, for why a step or a run failed; "" if it did not.
func errorType(s event.Status, exitCode int, oom bool) string {
	switch {
	case oom:
		return "out_of_memory"
	case s == event.TimedOut:
		return "timeout"
	case s == event.Failed:
		return fmt.Sprintf("exit %d", exitCode)
	}
	return ""
}

// actionRun is what a run does, as the semantic conventions for CI/CD name it.
const actionRun = "RUN"

// traceOf makes the spans of the run and its steps; nil: the run is not sampled.
func (r *Run) traceOf(e *event.Event) any {
	parent := r.tracer.parent
	if parent.trace != "" && parent.flags[1]&1 == 0 { // '0' and even digits
		return nil
	}
	s := e.Summary
	root := span{
		TraceID: r.traceID(), SpanID: r.spanID(), Parent: parent.span, Name: actionRun + " " + s.Name, Kind: kindServer,
		Start: nanos(r.started), End: nanos(e.Time), Status: failed(s.Status != event.Succeeded, s.Error),
		Attributes: []attribute{
			textOf("cicd.pipeline.name", s.Name), textOf("cicd.pipeline.run.id", s.Run), textOf("cicd.pipeline.result", resultOf(s.Status)),
			textOf("cicd.pipeline.action.name", actionRun),
			number("stepexec.exit_code", int64(s.ExitCode)),
		},
	}
	if kind := errorType(s.Status, s.ExitCode, false); kind != "" {
		root.Attributes = append(root.Attributes, textOf("error.type", kind))
	}
	if r.cell != "" {
		root.Attributes = append(root.Attributes, textOf("stepexec.cell", r.cell))
	}
	spans := append([]span{root}, r.spans...)
	for i := range s.Steps {
		for _, child := range r.step(&s.Steps[i]) {
			if len(spans) < maxSpans {
				spans = append(spans, child)
			}
		}
	}
	return request{[]resourceSpans{{resourceOf{r.tracer.resource}, []scopeSpans{{scope{"stepexec"}, spans}}}}}
}

// step makes the spans of a step: its own, and those of its phases. A step that never began to be
// prepared has none.
func (r *Run) step(s *event.StepResult) []span {
	begin := s.Prepared
	if begin.IsZero() {
		return nil
	}
	created := begin.Add(time.Duration(s.Pull + s.Create))
	end := created
	if !s.Started.IsZero() {
		end = s.Started.Add(time.Duration(s.Duration))
	}
	own := span{
		TraceID: r.traceID(), SpanID: r.spanID(s.Step), Parent: r.spanID(), Name: "step " + s.Step, Kind: kindInternal,
		Start: nanos(begin), End: nanos(end), Status: failed(s.FailsRun() || s.Status == event.Failed || s.Status == event.TimedOut, s.Error),
		Attributes: stepAttributes(r.id, s),
	}
	phase := func(name string, from, to time.Time) span {
		return span{
			TraceID: own.TraceID, SpanID: id(8, own.SpanID, name), Parent: own.SpanID, Name: name, Kind: kindInternal,
			Start: nanos(from), End: nanos(to), Status: status{Code: 0},
		}
	}
	fetched := begin.Add(time.Duration(s.Pull))
	spans := []span{own, phase("image", begin, fetched), phase("create", fetched, created)}
	if s.Started.IsZero() {
		return spans
	}
	running := s.Started.Add(time.Duration(s.Start))
	return append(spans, phase("start", s.Started, running), phase("wait", running, end))
}

func stepAttributes(run string, s *event.StepResult) []attribute {
	all := []attribute{
		textOf("cicd.pipeline.task.name", s.Step), textOf("cicd.pipeline.task.run.id", run+"/"+s.Step),
		textOf("cicd.pipeline.task.run.result", resultOf(s.Status)),
		textOf("container.image.name", s.Image), number("process.exit.code", int64(s.ExitCode)),
	}
	if kind := errorType(s.Status, s.ExitCode, s.OOM); kind != "" {
		all = append(all, textOf("error.type", kind))
	}
	if s.Digest != "" {
		all = append(all, textOf("oci.manifest.digest", s.Digest))
	}
	if s.Service {
		all = append(all, flag("stepexec.service", true))
	}
	if s.OOM {
		all = append(all, flag("stepexec.out_of_memory", true))
	}
	if u := s.Usage; u != nil {
		all = append(all, number("stepexec.cpu_user_ms", time.Duration(u.User).Milliseconds()), number("stepexec.cpu_system_ms", time.Duration(u.System).Milliseconds()),
			number("stepexec.peak_memory_bytes", u.PeakMemory))
	}
	if len(s.Attempts) > 1 {
		all = append(all, number("stepexec.attempts", int64(len(s.Attempts))))
	}
	return all
}

// Close waits until everything is sent or dropped. Once kill is closed, a collector has no more than
// DefaultTimeout, whatever the environment allows it. kill may be nil.
func (t *Tracer) Close(kill <-chan struct{}) {
	if t == nil {
		return
	}
	sent, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-kill:
			late := time.AfterFunc(DefaultTimeout, func() {
				t.giveUp(fmt.Errorf("interrupted again, and the collector took longer than %v", DefaultTimeout))
			})
			defer late.Stop()
			<-sent
		case <-sent:
		}
	}()
	t.sent.Wait()
	close(sent)
	<-watched
	t.giveUp(nil)
	for _, s := range []*signal{t.traces, t.metrics} {
		if s != nil {
			s.client.CloseIdleConnections()
		}
	}
}
