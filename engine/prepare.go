package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/sandbox"
)

// prepared is a step whose container exists and waits to be started.
type prepared struct {
	step      *sandbox.Step
	sandbox   *sandbox.Sandbox
	input     *input
	output    *output
	readiness *readiness // nil: nobody waits for it to be ready
}

// remove takes a prepared step away; on nil it does nothing.
func (p *prepared) remove() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.sandbox.Remove(), p.input.close(), p.output.close())
}

// maxRemovals bounds how many steps that have ended are being removed while others run.
const maxRemovals = 4

// prepare fetches a step's image and makes its container.
func (r *run) prepare(ctx context.Context, n *node) (*prepared, error) {
	began := time.Now()
	n.result.Prepared = began
	image, err := r.image(ctx, n)
	if err != nil {
		return nil, err
	}
	n.result.Digest, n.result.Pull = image.Digest.String(), event.Millis(time.Since(began))
	began = time.Now()
	ready, err := r.newReadiness(n, image)
	if err != nil {
		return nil, err
	}
	mounts, err := r.mounts(n)
	if err != nil {
		return nil, err
	}
	p, err := r.create(ctx, n, r.sandboxStep(n, image, mounts), ready)
	if err == nil {
		n.result.Create = event.Millis(time.Since(began))
	}
	return p, err
}

// create makes a step's container, with its streams.
func (r *run) create(ctx context.Context, n *node, step *sandbox.Step, ready *readiness) (*prepared, error) {
	dir, err := r.o.Host.Dir(step.ID + "-output")
	if err != nil {
		return nil, err
	}
	out, err := r.newOutput(n, dir, ready.output())
	if err != nil {
		return nil, fmt.Errorf("capture the step's output: %w", err)
	}
	in, err := r.newInput(n)
	if err != nil {
		return nil, errors.Join(err, out.close())
	}
	step.Stdin, step.Stdout, step.Stderr = in.file(), out.fifos[0].Writer(), out.fifos[1].Writer()
	box, err := r.o.Host.Prepare(ctx, step)
	if err != nil {
		return nil, errors.Join(err, in.close(), out.close())
	}
	p := &prepared{step: step, sandbox: box, input: in, output: out, readiness: ready}
	if err := errors.Join(in.sealed(), out.read(), ready.checkFree(ctx, box)); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}
