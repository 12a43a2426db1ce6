package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

const (
	readyTimeout  = time.Minute            // unless the pipeline or the image says otherwise
	readyInterval = 200 * time.Millisecond // between two tries; one of runc exec costs some 40
	tryTimeout    = 10 * time.Second       // of one try
)

var errNotReady = errors.New("not ready in time")

// readiness finds out when a service, or a detached step, is ready: when each of
// its probes has held once.
type readiness struct {
	run               *run
	node              *node
	probes            []probe
	timeout, interval time.Duration
	printed           *printed // what it prints

	cancel  context.CancelFunc // ends the watching; nil before begin
	done    chan struct{}      // closed once that has ended; the rest is final then
	waited  *probe             // the one that did not hold
	last    error              // of its last try
	ready   bool
	took    time.Duration // from the start until it was ready
	tooLate bool
	lines   []string // the last that were printed before it was stopped for being too late
}

// probe is one condition. It is held off until wait returns nil.
type probe struct {
	what string // completes "waited for …"
	wait func(ctx context.Context, box *sandbox.Sandbox) error
	port string // of the step's own that answers once it holds; "": another condition
}

// newReadiness returns nil for a step that nobody waits for, or that is ready as
// soon as it runs. The image's healthcheck counts where it is about the command
// that runs: a service's that is the image's own.
func (r *run) newReadiness(n *node, image *Image) (*readiness, error) {
	asked := n.step.Ready
	own := n.step.Script == nil && n.step.Entrypoint == nil && n.step.Advanced.Spec == nil
	if asked == nil && (!n.result.Service || !own) || asked != nil && asked.None {
		return nil, nil
	}
	rd := &readiness{run: r, node: n, timeout: readyTimeout, interval: readyInterval, printed: newPrinted()}
	if asked == nil || !asked.HasCondition() {
		check, err := healthcheckOf(image)
		if err != nil || check == nil && asked == nil {
			return nil, err
		}
		if check == nil {
			return nil, fmt.Errorf("wait for it to be ready: image %s has no healthcheck (give tcp, http, exec or log)", n.step.Image)
		}
		rd.timeout = check.timeout()
		rd.probes = append(rd.probes, rd.healthProbe(check))
	}
	if asked != nil {
		if err := rd.ask(asked); err != nil {
			return nil, err
		}
	}
	return rd, nil
}

// ask takes over what the pipeline says.
func (rd *readiness) ask(asked *pipeline.Ready) error {
	if asked.Timeout > 0 {
		rd.timeout = asked.Timeout
	}
	if asked.Interval > 0 {
		rd.interval = asked.Interval
	}
	if asked.Log != "" {
		expression, err := regexp.Compile(asked.Log)
		if err != nil {
			return fmt.Errorf("ready.log: %w", err)
		}
		rd.printed.match = expression
		rd.probes = append(rd.probes, rd.logProbe(asked.Log))
	}
	if asked.TCP != "" {
		rd.probes = append(rd.probes, rd.tcpProbe(asked.TCP))
	}
	if asked.HTTP != "" {
		rd.probes = append(rd.probes, rd.httpProbe(asked.HTTP, asked.Status))
	}
	if asked.Exec != nil {
		rd.probes = append(rd.probes, rd.execProbe(asked.Exec, tryTimeout))
	}
	return nil
}

// begin watches a step that has been started. The returned context ends with
// running, and when the step is not ready in time. Of what is nil it says at once
// that it is ready.
func (rd *readiness) begin(ctx, running context.Context, n *node, box *sandbox.Sandbox) context.Context {
	if rd == nil {
		if n.isBeside() {
			n.settle(false)
		}
		return running
	}
	running, stop := context.WithCancelCause(running)
	watching, over := context.WithTimeoutCause(ctx, rd.timeout, errNotReady)
	rd.cancel, rd.done = over, make(chan struct{})
	began := time.Now()
	go func() {
		defer close(rd.done)
		defer rd.printed.stop()
		err := rd.watch(watching, box)
		switch {
		case err == nil:
			rd.ready, rd.took = true, time.Since(began)
			n.settle(false)
		case errors.Is(err, errNotReady):
			rd.tooLate, rd.lines = true, rd.printed.last()
			stop(errNotReady)
		case ctx.Err() != nil:
			n.settle(true) // the steps that wait for it are over
		}
	}()
	return running
}

// watch returns nil when all probes have held, and why it did not come to that
// otherwise.
func (rd *readiness) watch(ctx context.Context, box *sandbox.Sandbox) error {
	for i := range rd.probes {
		rd.waited, rd.last = &rd.probes[i], nil
		if err := rd.probes[i].wait(ctx, box); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// close ends the watching, if it was begun.
func (rd *readiness) close() {
	if rd != nil && rd.cancel != nil {
		rd.cancel()
		<-rd.done
	}
}

// judge says what the end of a step's command means that may not have been
// ready by then. The readiness must have been closed.
func (rd *readiness) judge(running context.Context, end outcome) outcome {
	switch {
	case rd == nil:
		return end
	case rd.ready:
		rd.node.result.Ready = event.Millis(rd.took)
		return end
	case rd.tooLate:
		rd.node.result.NotReady = true
		return outcome{event.TimedOut, event.CodeTimeout, rd.failure("not ready in "+rd.timeout.String(), rd.lines)}
	case running.Err() != nil:
		return end // stopped with the run
	}
	how := "ended"
	if end.err != nil {
		how = end.err.Error()
	}
	if end.code == 0 {
		end.code = event.CodeError // it is never green
	}
	how = fmt.Sprintf("%s with exit code %d before it was ready", how, end.code)
	if end.status == event.Succeeded {
		how = "ended with exit code 0 before it was ready"
	}
	rd.node.result.NotReady = true
	return outcome{event.Failed, end.code, rd.failure(how, rd.printed.last())}
}

// failure says what was waited for, and the last lines of the step.
func (rd *readiness) failure(how string, lines []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: waited for %s", how, rd.waited.what)
	if rd.last != nil {
		fmt.Fprintf(&b, " (last try: %v)", reason(rd.last))
	}
	if len(lines) == 0 {
		b.WriteString("; it printed nothing")
	} else {
		b.WriteString("; its last lines:\n  " + strings.Join(lines, "\n  "))
	}
	return errors.New(b.String())
}

// output is what looks at the step's output, nil when nothing does.
func (rd *readiness) output() *printed {
	if rd == nil {
		return nil
	}
	return rd.printed
}
