package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// mounts are those of a step, with a folder in the place of the name of a volume or a
// cache.
func (r *run) mounts(n *node) ([]sandbox.Mount, error) {
	var mounts []sandbox.Mount
	for _, m := range n.step.Mounts {
		var err error
		switch m.Type {
		case pipeline.MountVolume:
			m.Source, err = r.o.Host.Volume(m.Source)
		case pipeline.MountCache:
			m.Source, err = r.cache(m.Source)
		default:
			mounts = append(mounts, sandbox.Mount(m))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", m.Type, m.Destination, err)
		}
		m.Type = "bind"
		mounts = append(mounts, sandbox.Mount(m))
	}
	exported, err := r.exportsMount(n)
	if err != nil {
		return nil, fmt.Errorf("make $STEPEXEC_OUTPUT: %w", err)
	}
	masked, err := r.maskMount(n)
	if err != nil {
		return nil, fmt.Errorf("make $STEPEXEC_MASK: %w", err)
	}
	return slices.Concat(mounts, exported, masked), nil
}

func (r *run) cache(name string) (string, error) {
	if r.o.Cache == nil {
		return "", errors.New("there are no caches here")
	}
	return r.o.Cache(name)
}
