package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
)

// runStep takes a step through its phases: it prepares the step ahead of its turn if that
// is safe, waits for the nodes that it depends on, runs it and records how it ended.
//
// A detached step is over once it is ready, and runs until serving ends.
func (r *run) runStep(ctx, serving context.Context, n *node) {
	defer n.life.move(ended)
	defer r.survive(n)
	foreseen := r.prepareAhead(ctx, n)
	endTurn := r.awaitTurn(ctx, n, serving)
	defer endTurn()
	if foreseen != nil {
		<-r.ahead
	}
	n.life.move(starting)
	r.inherit(n)
	runs := n.step.RunOn.Success
	if n.life.hasFailed() {
		runs = n.step.RunOn.Failure
	}
	if ctx.Err() != nil || !runs || r.isHalted() != "" {
		r.keepErr(foreseen.remove())
		r.finish(n, r.notRun(ctx, n))
		return
	}
	foreseen = r.asForeseen(n, r.shellBefore(ctx, n, foreseen))
	if n.step.Detach {
		r.finish(n, r.serve(ctx, serving, n, foreseen))
		return
	}
	end := r.attempts(ctx, n, foreseen)
	end = r.readTests(n, end)
	end = r.collect(n, end)
	r.saveCaches(n, end)
	r.openShell(n, end)
	r.finish(n, end)
}

// isHalted returns why no further step may begin; "" means that steps may.
func (r *run) isHalted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.halted
}

// notRun is the outcome of a step whose command never ran.
func (r *run) notRun(ctx context.Context, n *node) outcome {
	switch {
	case errors.Is(context.Cause(ctx), errFailFast):
		n.life.fail() // steps that run after a failure run after this one
		n.result.Reason = errFailFast.Error()
	case ctx.Err() != nil:
		end := outcome{}
		if end.status, end.code = endedBy(ctx); end.status == event.TimedOut {
			end.err = context.Cause(ctx)
		}
		return end
	case n.life.hasFailed():
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

// String describes the outcome in words.
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

// execute runs a step's command. ctx bounds the fetch of its image and the creation of its
// container; the command is stopped when lasting ends, which is later for a service.
func (r *run) execute(ctx, lasting context.Context, n *node, p *prepared) outcome {
	if p == nil {
		var err error
		if p, err = r.prepare(ctx, n); err != nil {
			return failedStart(ctx, err)
		}
	}
	r.emit(event.Event{Kind: event.StepStarted, Step: n.step.Name, Image: n.step.Image, Service: n.service})
	began := time.Now()
	giveBack, err := p.console.lend(p.sandbox.Terminal())
	defer giveBack()
	if err == nil {
		err = p.sandbox.Start(ctx)
	}
	if err != nil {
		return failedStart(ctx, errors.Join(err, p.remove()))
	}
	p.console.input.begin()
	n.life.move(running)
	n.result.Started, n.result.Start = began, event.Millis(time.Since(began))
	n.inside.open(p.sandbox)
	r.offer(n, p.sandbox, p.step)
	removed := false
	defer func() {
		if !removed { // a panic: its container must not outlive it
			n.inside.close()
			r.keepErr(p.remove())
		}
	}()
	lasting, over := p.readiness.begin(ctx, lasting, n, p.sandbox)
	defer over()
	exit, err := p.sandbox.Wait(lasting, sandbox.Stopping{Grace: r.o.Stop.Grace, Now: r.o.Stop.Kill})
	n.result.Duration = event.Millis(time.Since(began))
	if lasting.Err() == nil { // it ended by itself, whatever ends while the rest of its output is read
		n.work.need = r.needOf(ctx, n)
		lasting = context.WithoutCancel(lasting)
	}
	err = errors.Join(err, p.console.output.drain(), giveBack())
	maskErr := p.console.output.masks.finish()
	n.result.Masked += p.console.output.masks.count()
	p.readiness.close()
	n.inside.close()
	exported, exportErr := r.readExports(n)
	r.connections(n, p.sandbox)
	n.result.OOM, n.result.Usage = exit.OOM, usageOf(exit.Usage)
	if exit.OOM && exit.Code == 0 {
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "out of memory, although the step succeeded: " + exit.OutOfMemory.String()})
	}
	end := p.sudo.explain(r.export(n, exported, exportErr, unmasked(maskErr, p.readiness.judge(lasting, outcomeOf(lasting, exit, err, n.step.EndsRun)))))
	removed = true
	r.takeAway(n, p, end)
	return end
}

// unmasked makes a step fail whose output could not be masked as it asked for.
func unmasked(err error, end outcome) outcome {
	if err != nil && end.status == event.Succeeded {
		return outcome{event.Failed, event.CodeError, fmt.Errorf("mask the step's values: %w", err)}
	}
	return end
}

// outcomeOf is the outcome of a step whose command has ended. A command that was told to
// stop has not succeeded, whatever its exit code.
func outcomeOf(ctx context.Context, exit sandbox.Exit, err error, endsRun []int) outcome {
	var command *sandbox.CommandError
	refused := errors.As(err, &command)
	more := beyond(ctx, err)
	switch {
	case ctx.Err() != nil && more == nil: // the stop signal may come before the command is executed
		status, code := endedBy(ctx)
		return outcome{status, code, context.Cause(ctx)}
	case ctx.Err() != nil:
		return outcome{event.Failed, event.CodeError, more}
	case refused:
		return outcome{event.Failed, command.Code, err}
	case err != nil:
		return outcome{event.Failed, event.CodeError, err}
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

// failedStart is the outcome of a step whose command could not be started.
func failedStart(ctx context.Context, err error) outcome {
	var command *sandbox.CommandError
	switch {
	case ctx.Err() != nil:
		status, code := endedBy(ctx)
		return outcome{status, code, errors.Join(context.Cause(ctx), beyond(ctx, err))}
	case errors.As(err, &command):
		return outcome{event.Failed, command.Code, err}
	}
	return outcome{event.Failed, event.CodeError, err}
}

// beyond returns the parts of an error that neither the end of ctx nor a command that cannot be
// executed explains. They say, for example, what could not be removed, and must not be lost when a
// step is cancelled.
func beyond(ctx context.Context, err error) error {
	if err == nil || err == context.Cause(ctx) {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, part := range joined.Unwrap() {
			rest = append(rest, beyond(ctx, part))
		}
		return errors.Join(rest...)
	}
	explained := errors.As(err, new(*sandbox.CommandError)) ||
		ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err()))
	if explained {
		return nil
	}
	return err
}

// finish records and reports how a step ended.
func (r *run) finish(n *node, end outcome) {
	r.conclude(n, end)
	r.keepRoot(n, end)
	r.reportEnd(n)
}

// conclude records how a step ended: in its result, and in what becomes of the run. It is
// the only place that sets an end.
func (r *run) conclude(n *node, end outcome) {
	n.result.Status, n.result.ExitCode = end.status, end.code
	if end.err != nil {
		n.result.Error = strings.TrimSpace(r.mask.String(end.err.Error()))
	}
	n.result.Ignored = n.step.IgnoreFailure && (end.status == event.Failed || errors.Is(end.err, errStepTimeout))
	if crashed := (*crash.Error)(nil); errors.As(end.err, &crashed) {
		r.keepErr(crashed) // its stack goes to the log
	}
	fails := n.result.FailsRun()
	r.mu.Lock()
	if end.status == event.Succeeded && end.code != 0 && r.halted == "" {
		r.halted = fmt.Sprintf("step %s ended the run with exit code %d", n.step.Name, end.code)
	}
	if fails {
		r.failed = append(r.failed, n.step.Name)
		if r.first == nil {
			r.first = &end
		}
	}
	r.mu.Unlock()
	if !fails {
		return
	}
	n.life.fail()
	if r.plan.FailFast || n.step.FailsFast {
		r.life.fail()
	}
}

// reportEnd sends the event of a step's end.
func (r *run) reportEnd(n *node) {
	result := n.result
	r.emit(event.Event{Kind: event.StepFinished, Step: n.step.Name, Result: &result})
}
