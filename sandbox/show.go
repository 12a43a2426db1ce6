package sandbox

import (
	"context"
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Spec returns the OCI runtime specification that Prepare would pass to the runtime, without
// creating a container. Sources of mounts are as the step names them; Prepare checks them first,
// creates missing ones where requested, and pins those in directories that steps write to. Spec
// leaves nothing behind. Its errors are those that Prepare returns before it calls the runtime.
func (h *Host) Spec(ctx context.Context, step *Step) (_ *specs.Spec, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(checkNetwork(step), checkNames(step)); err != nil {
		return nil, err
	}
	s := &Sandbox{step: step, id: h.containerID(step)}
	defer func() { err = errors.Join(err, s.Remove()) }()
	dir, rootfs, err := s.mountRoot(ctx, h)
	if err != nil {
		return nil, err
	}
	return h.specFor(s.step, dir, rootfs, nil)
}
