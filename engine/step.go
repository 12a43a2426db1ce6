package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
)

// runStep takes a step through its life: it prepares it ahead of its turn
// where that is safe, waits for what it depends on, runs it and records how it
// ended.
//
// A detached step counts as over once it is ready, and goes on until serving ends.
func (r *run) runStep(ctx, serving context.Context, n *node) {
	defer close(n.ended)
	defer n.settle(false)
	defer r.survive(n)
	ahead := r.prepareAhead(ctx, n)
	defer r.awaitTurn(n, serving)()
	n.begin()
	r.inherit(n)
	runs := n.step.RunOn.Success && !n.failed || n.step.RunOn.Failure && n.failed
	if ctx.Err() != nil || !runs || r.isHalted() != "" {
		r.keepErr(ahead.remove())
		r.finish(n, r.notRun(ctx, n))
		return
	}
	ahead = r.asForeseen(n, ahead)
	if n.step.Detach {
		r.finish(n, r.serve(ctx, serving, n, ahead))
		return
	}
	end := r.attempts(ctx, n, ahead)
	r.openShell(n, end)
	r.finish(n, end)
}

// isHalted says why no step may begin any more; "" is that they may.
func (r *run) isHalted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.halted
}

// over is closed when those who need a step, or depend on it, may go on.
func (n *node) over() <-chan struct{} {
	if n.isBeside() {
		return n.ready
	}
	return n.ended
}

// notRun is the outcome of a step whose command never ran.
func (r *run) notRun(ctx context.Context, n *node) outcome {
	switch {
	case errors.Is(context.Cause(ctx), errFailFast):
		n.failed = true // what runs after a failure runs after this one
		n.result.Reason = errFailFast.Error()
	case ctx.Err() != nil:
		end := outcome{}
		if end.status, end.code = endedBy(ctx); end.status == event.TimedOut {
			end.err = context.Cause(ctx)
		}
		return end
	case n.failed:
		n.result.Reason = "a step before it failed"
	case r.isHalted() != "":
		n.result.Reason = r.isHalted()
	default:
		n.result.Reason = "no step before it failed"
	}
	return outcome{status: event.Skipped}
}

// outcome is how a step ended.
type outcome struct {
	status event.Status
	code   int
	err    error
}

// String says it in words.
func (o outcome) String() string {
	text := string(o.status)
	if o.status == event.Failed {
		text += fmt.Sprintf(" with exit code %d", o.code)
	}
	if o.err != nil {
		text += ": " + o.err.Error()
	}
	return text
}

// execute runs a step's command. Its image is fetched and its container made
// under ctx; the command is stopped when running ends, which for a service is
// later.
func (r *run) execute(ctx, running context.Context, n *node, ahead *prepared) outcome {
	p := ahead
	if p == nil {
		var err error
		if p, err = r.prepare(ctx, n); err != nil {
			return failedStart(ctx, err)
		}
	}
	r.emit(event.Event{Kind: event.StepStarted, Step: n.step.Name, Image: n.step.Image, Service: n.result.Service})
	began := time.Now()
	giveBack, err := r.lendTerminal(n, p.sandbox.Terminal())
	defer giveBack()
	if err == nil {
		err = p.sandbox.Start(ctx)
	}
	if err != nil {
		return failedStart(ctx, errors.Join(err, p.remove()))
	}
	p.input.begin()
	n.result.Status, n.result.Started, n.result.Start = event.Running, began, event.Millis(time.Since(began))
	n.runs = true
	n.enter(p.sandbox)
	r.offer(n, p.sandbox, p.step)
	removed := false
	defer func() {
		if !removed { // a panic: its container must not outlive it
			n.leave()
			r.keepErr(p.remove())
		}
	}()
	running = p.readiness.begin(ctx, running, n, p.sandbox)
	exit, err := p.sandbox.Wait(running, sandbox.Stopping{Grace: r.o.Grace, Now: r.o.Kill})
	n.result.Duration = event.Millis(time.Since(began))
	err = errors.Join(err, p.output.drain(), giveBack())
	maskErr := p.output.masks.finish()
	n.result.Masked += p.output.masks.count()
	p.readiness.close()
	n.leave()
	exported, exportErr := r.readExports(n)
	n.result.OOM, n.result.Usage = exit.OOM, usageOf(exit.Usage)
	if exit.OOM && exit.Code == 0 {
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "out of memory, and yet the step succeeded: " + exit.OutOfMemory.String()})
	}
	end := r.export(n, exported, exportErr, unmasked(maskErr, p.readiness.judge(running, ended(running, exit, err, n.step.EndsRun))))
	removed = true
	r.takeAway(n, p, end)
	return end
}

// unmasked has a step fail whose output could not be masked as it wanted.
func unmasked(err error, end outcome) outcome {
	if err != nil && end.status == event.Succeeded {
		return outcome{event.Failed, event.CodeError, fmt.Errorf("mask the step's values: %w", err)}
	}
	return end
}

// ended says what the end of a step's command means. A command that was told
// to stop has not succeeded, whatever its exit code.
func ended(ctx context.Context, exit sandbox.Exit, err error, endsRun []int) outcome {
	switch {
	case err != nil:
		return outcome{event.Failed, event.CodeError, err}
	case ctx.Err() != nil:
		status, code := endedBy(ctx)
		return outcome{status, code, context.Cause(ctx)}
	case exit.Code == 0:
		return outcome{status: event.Succeeded}
	case !exit.OOM && slices.Contains(endsRun, exit.Code):
		return outcome{status: event.Succeeded, code: exit.Code}
	case exit.OOM:
		return outcome{event.Failed, event.CodeOOM, fmt.Errorf("out of memory: %v", exit.OutOfMemory)}
	case exit.Signal != 0:
		return outcome{event.Failed, exit.Code, fmt.Errorf("killed by signal %d (%v)", int(exit.Signal), exit.Signal)}
	}
	return outcome{status: event.Failed, code: exit.Code}
}

// failedStart says what it means that a step's command could not be started.
func failedStart(ctx context.Context, err error) outcome {
	var command *sandbox.CommandError
	switch {
	case ctx.Err() != nil:
		status, code := endedBy(ctx)
		return outcome{status, code, context.Cause(ctx)}
	case errors.As(err, &command):
		return outcome{event.Failed, command.Code, err}
	}
	return outcome{event.Failed, event.CodeError, err}
}

// finish records how a step ended. It is the one place that sets an end.
func (r *run) finish(n *node, end outcome) {
	n.result.Status, n.result.ExitCode = end.status, end.code
	if end.err != nil {
		n.result.Error = strings.TrimSpace(r.mask.String(end.err.Error()))
	}
	n.result.Ignored = n.step.IgnoreFailure && (end.status == event.Failed || errors.Is(end.err, errStepTimeout))
	switch {
	case !n.result.FailsRun():
	case n.isBeside():
		n.settle(true)
	default:
		n.failed = true
	}
	r.mu.Lock()
	if end.status == event.Succeeded && end.code != 0 && r.halted == "" {
		r.halted = fmt.Sprintf("step %s ended the run with exit code %d", n.step.Name, end.code)
	}
	if n.result.FailsRun() {
		r.failed = append(r.failed, n.step.Name)
	}
	if r.first == nil && n.result.FailsRun() {
		r.first = &n.result
	}
	r.mu.Unlock()
	if n.result.FailsRun() {
		if r.plan.FailFast || n.step.FailsFast {
			r.life.fail()
		}
	}
	r.keepRoot(n, end)
	result := n.result
	r.emit(event.Event{Kind: event.StepFinished, Step: n.step.Name, Result: &result})
}
