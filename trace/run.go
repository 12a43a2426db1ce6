package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stepexec/stepexec/event"
)

// maxSpans bounds a trace: the steps of a run have some five spans each.
const maxSpans = 10_000

// recorded is what is known of a run that goes on.
type recorded struct {
	id, name, cell string
	started        time.Time
	pulls          map[string]time.Time // when the pulls of images began
	spans          []span
}

func id(bytes int, parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%q", part)
	}
	return hex.EncodeToString(h.Sum(nil)[:bytes])
}

func (t *Tracer) traceOf(run string) string {
	if t.parent.trace != "" {
		return t.parent.trace
	}
	return id(16, string(t.seed), run)
}

func (t *Tracer) runSpan(run string) string { return id(8, string(t.seed), run) }

func (t *Tracer) stepSpan(run, step string) string { return id(8, string(t.seed), run, step) }

// Parent is the traceparent for a step of a run: whatever the step does belongs to its span.
func (t *Tracer) Parent(run, step string) string {
	if t == nil {
		return ""
	}
	flags := "01" // sampled
	if t.parent.trace != "" {
		flags = t.parent.flags
	}
	return "00-" + t.traceOf(run) + "-" + t.stepSpan(run, step) + "-" + flags
}

// Event notes an event of a run. With the last one of a run, its trace is sent in the background.
func (t *Tracer) Event(e event.Event) {
	if t == nil || e.Kind == event.Line || e.Kind == event.PullProgress {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Kind == event.RunStarted {
		t.runs[e.Cell] = &recorded{id: e.Run, name: e.Name, cell: e.Cell, started: e.Time, pulls: map[string]time.Time{}}
		return
	}
	r := t.runs[e.Cell]
	if r == nil {
		return
	}
	switch e.Kind {
	case event.PullStarted:
		r.pulls[e.Image] = e.Time
	case event.PullFinished:
		if began, ok := r.pulls[e.Image]; ok {
			r.add(t.pull(r, &e, began))
		}
	case event.RunFinished:
		delete(t.runs, e.Cell)
		t.finish(r, &e)
	}
}

func (r *recorded) add(s span) {
	if len(r.spans) < maxSpans {
		r.spans = append(r.spans, s)
	}
}

func (t *Tracer) pull(r *recorded, e *event.Event, began time.Time) span {
	return span{
		TraceID: t.traceOf(r.id), SpanID: id(8, string(t.seed), r.id, "", e.Image), Parent: t.runSpan(r.id),
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

// finish makes the spans of the run and its steps, and sends them.
func (t *Tracer) finish(r *recorded, e *event.Event) {
	if e.Summary == nil || t.parent.trace != "" && t.parent.flags[1]&1 == 0 { // '0' and even digits: not sampled
		return
	}
	s := e.Summary
	root := span{
		TraceID: t.traceOf(r.id), SpanID: t.runSpan(r.id), Parent: t.parent.span, Name: "run " + s.Name, Kind: kindInternal,
		Start: nanos(r.started), End: nanos(e.Time), Status: failed(s.Status != event.Succeeded, s.Error),
		Attributes: []attribute{
			textOf("cicd.pipeline.name", s.Name), textOf("cicd.pipeline.run.id", s.Run), textOf("cicd.pipeline.result", resultOf(s.Status)),
			number("stepexec.exit_code", int64(s.ExitCode)),
		},
	}
	if r.cell != "" {
		root.Attributes = append(root.Attributes, textOf("stepexec.cell", r.cell))
	}
	spans := append([]span{root}, r.spans...)
	for i := range s.Steps {
		for _, child := range t.step(r, &s.Steps[i]) {
			if len(spans) < maxSpans {
				spans = append(spans, child)
			}
		}
	}
	body, err := json.Marshal(request{[]resourceSpans{{resourceOf{t.resource}, []scopeSpans{{scope{"stepexec"}, spans}}}}})
	if err != nil {
		t.warn(fmt.Sprintf("warning: the trace was not sent: %v", err))
		return
	}
	t.sent.Go(func() {
		if err := t.send(body); err != nil {
			t.warn(fmt.Sprintf("warning: the trace was not sent: %v", err))
		}
	})
}

// step makes the spans of a step: its own, and those of its phases. A step that never began to be
// prepared has none.
func (t *Tracer) step(r *recorded, s *event.StepResult) []span {
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
		TraceID: t.traceOf(r.id), SpanID: t.stepSpan(r.id, s.Step), Parent: t.runSpan(r.id), Name: "step " + s.Step, Kind: kindInternal,
		Start: nanos(begin), End: nanos(end), Status: failed(s.FailsRun() || s.Status == event.Failed || s.Status == event.TimedOut, s.Error),
		Attributes: stepAttributes(r, s),
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

func stepAttributes(r *recorded, s *event.StepResult) []attribute {
	all := []attribute{
		textOf("cicd.pipeline.task.name", s.Step), textOf("cicd.pipeline.task.run.id", r.id+"/"+s.Step),
		textOf("cicd.pipeline.task.run.result", resultOf(s.Status)),
		textOf("container.image.name", s.Image), number("process.exit.code", int64(s.ExitCode)),
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

// send posts a trace to the collector.
func (t *Tracer) send(body []byte) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), t.timeout, fmt.Errorf("the collector took longer than %v", t.timeout))
	defer cancel()
	headers := t.headers.Clone()
	headers.Set("Content-Type", "application/json")
	if t.gzip {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		body = b.Bytes()
		headers.Set("Content-Encoding", "gzip")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = headers
	answer, err := t.client.Do(r)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", answer.Status)
	}
	return nil
}

// Close waits until all traces are sent or dropped.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	t.sent.Wait()
	t.client.CloseIdleConnections()
}
