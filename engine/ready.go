package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

const (
	readyTimeout  = time.Minute            // unless the pipeline or the image says otherwise
	readyInterval = 200 * time.Millisecond // between two tries; a try by runc exec takes about 40 ms
	tryTimeout    = 10 * time.Second       // bounds one try
)

var errNotReady = errors.New("not ready in time")

// readiness finds out when a service or a detached step is ready: once each of its probes
// has succeeded.
type readiness struct {
	run      *run
	node     *node
	probes   []probe
	claimed  []uint16      // TCP ports that the step's program may be expected to listen on
	asked    []uint16      // TCP ports of the step that the command line of a probe asks
	timeout  time.Duration // from the start of the command until it must be ready; 0: patience alone decides
	patience *patience     // with failures of its health check; nil: time alone decides
	interval time.Duration // between two tries
	printed  *printed      // the step's output

	cancel context.CancelFunc // ends the watching; nil before begin
	done   chan struct{}      // closed once the watching has ended; the rest is final then
	waited *probe             // the probe that was tried last
	last   error              // of its last try
	end    watchEnd
	took   time.Duration // from the start until it was ready
	lines  []string      // last lines before the step was stopped for being too late
	err    error         // why the watching itself failed
}

// watchEnd is how the watching ended.
type watchEnd int

const (
	gaveUp  watchEnd = iota // with the step or the run, or by an error of its own
	inTime                  // all probes have succeeded
	tooLate                 // the time for it was over
)

// probe is one condition.
type probe struct {
	what string                                                // completes "waited for …"
	wait func(ctx context.Context, box *sandbox.Sandbox) error // returns nil once the condition holds
	port string                                                // the step's own port that answers once the condition holds; "": another condition
	at   netip.Addr                                            // its address
}

// newReadiness returns nil for a step that nobody waits for, or that is ready as soon as it
// runs. The image's healthcheck counts only if it checks the command that runs: in a
// service that runs the image's own command.
func (r *run) newReadiness(n *node, image *fetch.Image) (*readiness, error) {
	asked := n.step.Ready
	if asked != nil && asked.Health != nil {
		return r.newHealth(n, image, asked)
	}
	own := n.step.Script == nil && n.step.Entrypoint == nil && n.step.Advanced.Spec == nil
	if asked == nil && (!n.service || !own) || asked != nil && asked.None {
		return nil, nil
	}
	rd := r.newProbing(n, image)
	if asked == nil || !asked.HasCondition() {
		check, err := healthcheckOf(image)
		if err != nil || check == nil && asked == nil {
			return nil, err
		}
		if check == nil {
			return nil, fmt.Errorf("wait for it to be ready: image %s has no healthcheck (give tcp, http, exec or log)", n.step.Image)
		}
		rd.timeout = check.timeout()
		rd.claimed = append(rd.claimed, r.portsIn(n, check.argv())...)
		rd.asked = append(rd.asked, rd.askedBy(check.argv())...)
		rd.probes = append(rd.probes, rd.healthProbe(check))
	}
	if asked != nil {
		if err := rd.ask(asked); err != nil {
			return nil, err
		}
	}
	return rd, nil
}

func (r *run) newProbing(n *node, image *fetch.Image) *readiness {
	return &readiness{
		run: r, node: n, timeout: readyTimeout, interval: readyInterval, printed: newPrinted(),
		claimed: append(exposedPorts(image.Config.Config.ExposedPorts), r.namedPorts(n)...),
	}
}

// ask adds the conditions of the pipeline.
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
		rd.claimed = append(rd.claimed, rd.run.portsIn(rd.node, asked.Exec)...)
		rd.asked = append(rd.asked, rd.askedBy(asked.Exec)...)
	}
	return nil
}

// begin watches a started step. The returned context ends with lasting, and when the step is
// not ready in time; over gives back what it holds. On nil it settles the step at once.
func (rd *readiness) begin(ctx, lasting context.Context, n *node, box *sandbox.Sandbox) (_ context.Context, over context.CancelFunc) {
	if rd == nil {
		n.settle(false)
		return lasting, func() {}
	}
	lasting, stop := context.WithCancelCause(lasting)
	began := time.Now()
	watching, endWatching := rd.bound(ctx)
	if rd.patience != nil {
		rd.patience.begin(began)
	}
	rd.cancel, rd.done = endWatching, make(chan struct{})
	go func() {
		defer close(rd.done)
		defer rd.printed.stop()
		err := rd.watch(watching, box)
		var crashed *crash.Error
		switch {
		case err == nil:
			rd.end, rd.took = inTime, time.Since(began)
			n.settle(false)
		case errors.As(err, &crashed):
			rd.err = err
			stop(err)
		case errors.Is(err, errNotReady), errors.Is(err, errUnhealthy):
			rd.end, rd.lines = tooLate, rd.printed.last()
			stop(err)
		case ctx.Err() != nil:
			n.settle(true) // the steps that wait for it are over
		}
	}()
	return lasting, func() { stop(nil) }
}

// bound returns a context that ends with ctx, and when the time to become ready is over.
func (rd *readiness) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if rd.timeout > 0 {
		return context.WithTimeoutCause(ctx, rd.timeout, errNotReady)
	}
	return context.WithCancel(ctx)
}

// watch returns nil once all probes have succeeded, and otherwise why they did not.
func (rd *readiness) watch(ctx context.Context, box *sandbox.Sandbox) (err error) {
	defer crash.Recover(&err)
	for i := range rd.probes {
		rd.waited, rd.last = &rd.probes[i], nil
		err := rd.probes[i].wait(ctx, box)
		switch {
		case errors.Is(err, errUnhealthy):
			return err
		case err != nil:
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

// judge corrects the outcome of a step that was not ready when its command ended. The
// readiness must have been closed.
func (rd *readiness) judge(lasting context.Context, end outcome) outcome {
	switch {
	case rd == nil:
		return end
	case rd.err != nil:
		rd.node.result.NotReady = true
		return outcome{event.Failed, event.CodeError, rd.err}
	case rd.end == inTime:
		rd.node.result.Ready = event.Millis(rd.took)
		return end
	case rd.end == tooLate:
		rd.node.result.NotReady = true
		if rd.patience != nil {
			return outcome{event.Failed, event.CodeError, rd.failure(rd.patience.String(), rd.lines)}
		}
		return outcome{event.TimedOut, event.CodeTimeout, rd.failure("not ready in "+pipeline.DurationText(rd.timeout), rd.lines)}
	case lasting.Err() != nil:
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

// failure describes what was waited for, and quotes the last lines of the step.
func (rd *readiness) failure(how string, lines []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: waited for %s", how, rd.waited.what)
	if rd.last != nil {
		fmt.Fprintf(&b, " (last try: %v)", reason(rd.last))
	}
	if len(lines) == 0 {
		b.WriteString("; it printed nothing")
	} else {
		b.WriteString(event.LastLines + "\n  " + strings.Join(lines, "\n  "))
	}
	return errors.New(b.String())
}

// output looks at the step's output; nil: nothing does.
func (rd *readiness) output() *printed {
	if rd == nil {
		return nil
	}
	return rd.printed
}
