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
	console   *console
	readiness *readiness // nil: nobody waits for the step to be ready
	sudo      *setuidComplaint
}

// remove takes a prepared step away; on nil it does nothing.
func (p *prepared) remove() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.sandbox.Remove(), p.console.close())
}

// maxRemovals bounds how many ended steps are being removed while others run.
const maxRemovals = 4

// prepare fetches a step's image and makes its container.
func (r *run) prepare(ctx context.Context, n *node) (*prepared, error) {
	began := time.Now()
	n.result.Prepared = began
	caches := r.restoreCaches(ctx, n)
	defer caches.end()
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
	mounts, err := r.mounts(n, caches)
	if err != nil {
		return nil, err
	}
	p, err := r.create(ctx, n, r.sandboxStep(n, image, mounts), ready)
	if err == nil {
		n.result.Create = event.Millis(time.Since(began))
	}
	return p, err
}

// create makes a step's container on a console of its own.
func (r *run) create(ctx context.Context, n *node, step *sandbox.Step, ready *readiness) (*prepared, error) {
	from, err := r.source(n.step)
	if err != nil {
		return nil, err
	}
	masks, err := r.maskFiles.add(n)
	if err != nil {
		return nil, errors.Join(err, from.close())
	}
	sudo := newSetuidComplaint(n.step)
	to, err := r.sinks(n, masks, sudo, ready.output())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture the step's output: %w", err), from.close(), masks.close())
	}
	c, err := openConsole(r.o.Host, step.ID, from, to, masks, r.o.Streams.Terminal)
	if err != nil {
		return nil, err
	}
	p, err := c.create(ctx, r.o.Host, step)
	if err != nil {
		return nil, err
	}
	p.readiness, p.sudo = ready, sudo
	if err := ready.checkFree(p.sandbox); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}
