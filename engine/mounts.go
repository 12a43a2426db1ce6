package engine

import (
	"errors"
	"fmt"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// mounts returns the mounts of a step, with the folder of each volume and cache in place of
// its name.
func (r *run) mounts(n *node, caches *restoration) ([]sandbox.Mount, error) {
	var mounts []sandbox.Mount
	n.work.keyed, n.result.Caches = nil, nil
	for _, m := range n.step.Mounts {
		var err error
		switch m.Type {
		case pipeline.MountVolume:
			if m.Source == "" { // the step's own
				mounts = append(mounts, m)
				continue
			}
			m.Source, err = r.o.Host.Volume(m.Source)
		case pipeline.MountCache:
			m.Source, err = r.cache(m.Source)
		case pipeline.MountKeyed:
			m.Source, err = caches.folder(n, m.Destination)
		default:
			mounts = append(mounts, m)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", m.Type, m.Destination, err)
		}
		m.Type = "bind"
		mounts = append(mounts, m)
	}
	if n.step.Exports {
		m, err := exportsMount(r.o.Host, n.sandboxID())
		if err != nil {
			return nil, fmt.Errorf("make $STEPEXEC_OUTPUT: %w", err)
		}
		mounts = append(mounts, m)
	}
	if n.step.Masks {
		m, err := r.maskMount(n)
		if err != nil {
			return nil, fmt.Errorf("make $STEPEXEC_MASK: %w", err)
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func (r *run) cache(name string) (string, error) {
	if r.o.Cache == nil {
		return "", errors.New("caches are not available here")
	}
	return r.o.Cache(name)
}
