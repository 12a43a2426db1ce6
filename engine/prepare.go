package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// prepared is a step whose container exists and waits to be started.
type prepared struct {
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

// prepare fetches a step's image and makes its container.
func (r *run) prepare(ctx context.Context, n *node) (*prepared, error) {
	began := time.Now()
	n.result.Prepared = began
	image, err := r.images.get(ctx, n.step)
	if err != nil {
		return nil, err
	}
	n.result.Digest, n.result.Pull = image.Digest.String(), Millis(time.Since(began))
	began = time.Now()
	dir, err := r.o.Host.Dir(n.id + "-output")
	if err != nil {
		return nil, err
	}
	ready, err := r.newReadiness(n, image)
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
	mounts, err := r.mounts(n)
	if err != nil {
		return nil, errors.Join(err, in.close(), out.close())
	}
	step := r.sandboxStep(n, image, mounts)
	step.Stdin, step.Stdout, step.Stderr = in.file(), out.fifos[0].Writer(), out.fifos[1].Writer()
	box, err := r.o.Host.Prepare(ctx, step)
	if err != nil {
		return nil, errors.Join(err, in.close(), out.close())
	}
	p := &prepared{sandbox: box, input: in, output: out, readiness: ready}
	if err := errors.Join(in.sealed(), out.read(), ready.checkFree(ctx, box)); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	n.result.Create = Millis(time.Since(began))
	return p, nil
}

// prepareAhead prepares a step while the steps it depends on still run, so
// that its turn costs no more than a start. It returns nil when that is not
// safe or did not work; the step is then prepared at its turn, and an error
// that stays comes up there.
func (r *run) prepareAhead(ctx context.Context, n *node) *prepared {
	for _, dep := range n.deps {
		select {
		case <-dep.started:
		case <-ctx.Done():
			return nil
		}
	}
	if !r.canPrepareAhead(n) {
		return nil
	}
	select {
	case r.ahead <- struct{}{}:
		n.isAhead = true
	case <-n.turn:
		return nil
	case <-ctx.Done():
		return nil
	}
	p, err := r.prepare(ctx, n)
	if err != nil {
		return nil
	}
	return p
}

// maxAhead bounds how many steps are prepared ahead of their turn: each of them is a
// process and some mounts.
const maxAhead = 4

// canPrepareAhead reports whether nothing that runs before a step can change
// what its container is made of. A command other than a script is looked up
// when the container is made, maybe in a mount; and a running step could
// replace a source that lies in the workspace by a link to somewhere else on
// the host. The same goes for the files that it reads from, prints to and is
// confined by.
func (r *run) canPrepareAhead(n *node) bool {
	if len(n.deps) == 0 || n.step.Script == nil || !n.step.RunOn.Success {
		return false
	}
	if readsStart(n.step) {
		return false
	}
	if n.step.Stdin != "" || filepath.IsAbs(n.step.Output) || filepath.IsAbs(n.step.Security.Seccomp) {
		return false
	}
	for _, m := range n.step.Mounts {
		if m.Type == pipeline.MountVolume || m.Type == pipeline.MountCache {
			continue // no step can put anything in the place of their folders
		}
		if m.Source != r.plan.WorkspaceSource || filepath.Clean(m.Destination) != r.plan.WorkspacePath {
			return false
		}
	}
	return true
}
