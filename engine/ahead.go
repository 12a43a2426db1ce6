package engine

import (
	"cmp"
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
)

// maxAhead bounds how many steps are prepared ahead of their turn: each of them is a
// process and some mounts. To create a container takes longer than a short step
// runs, so one would not do.
const maxAhead = 4

// prepareAhead prepares a step while steps before it still run, or wait as well, so
// that its turn costs no more than a start. It returns nil when that is not
// safe or did not work; the step is then prepared at its turn, and an error
// that stays comes up there.
func (r *run) prepareAhead(ctx context.Context, n *node) *prepared {
	for _, dep := range n.deps { // the nearest steps first
		select {
		case <-dep.begun:
		case <-ctx.Done():
			return nil
		}
	}
	if !n.step.RunOn.Success {
		n.begin() // it will be skipped, if all goes well: those after it need not wait for it
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
	n.begin()
	image, err := r.images.get(ctx, n.step)
	if err == nil && isFixed(n.step, image) {
		if p, err := r.prepare(ctx, n); err == nil {
			return p
		}
	}
	<-r.ahead
	n.isAhead = false
	return nil
}

// begin tells those that depend on a step that they may be prepared.
func (n *node) begin() { n.beginning.Do(func() { close(n.begun) }) }

// canPrepareAhead reports whether nothing that runs before a step can change
// what its container is made of, nor meets what is made for it. A command other
// than a script is looked up when the container is made, maybe in a mount; and a
// running step could replace a source that lies in the workspace by a link to
// somewhere else on the host. The same goes for the files that it reads from,
// prints to and is confined by, for its root directory where that is the host's,
// and for namespaces to join. A port that it publishes may be another's until its turn.
func (r *run) canPrepareAhead(n *node) bool {
	step := n.step
	switch {
	case len(n.deps) == 0 || step.Script == nil || len(step.Shell) == 0 || readsStart(step) || !step.RunOn.Success || step.Detach:
		return false
	case step.Stdin != "" || filepath.IsAbs(step.Output) || filepath.IsAbs(step.Security.Seccomp):
		return false
	case strings.HasPrefix(step.Image, string(pull.SchemeRootfs)+":"):
		return false
	case len(step.Advanced.Namespaces) > 0 || step.Advanced.PidFile != "" || step.Advanced.Spec != nil || step.Advanced.SpecPatch != nil:
		return false
	case len(step.Names.Ports) > 0:
		return false
	}
	return !slices.ContainsFunc(step.Mounts, func(m pipeline.Mount) bool { return !r.isFixedMount(m) })
}

// isFixedMount reports whether no step can put anything in the place of a mount's
// source: those of volumes and caches are stepexec's, and the workspace is seen
// by steps from within.
func (r *run) isFixedMount(m pipeline.Mount) bool {
	switch m.Type {
	case pipeline.MountVolume, pipeline.MountCache, "tmpfs":
		return true
	}
	return m.Source == r.plan.WorkspaceSource && path.Clean(m.Destination) == r.plan.WorkspacePath
}

// ownPlaces are where every container has mounts of stepexec's and the runtime's.
var ownPlaces = []string{"/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf", "/run/stepexec", "/run/secrets"}

// isFixed reports whether to make a step's container looks at nothing in its mounts,
// which steps before it may still fill, and makes nothing there: the runtime makes
// the places of mounts and the working directory, which must not appear
// in the workspace before its turn, as `git clone` wants it empty, and it looks a
// shell without a path up.
func isFixed(step *pipeline.PlannedStep, image *Image) bool {
	config := &image.Config.Config
	within := func(place string) bool { // a mount, and not at its very place
		return slices.ContainsFunc(step.Mounts, func(m pipeline.Mount) bool { return isBelow(place, m.Destination) })
	}
	directory := step.Directory
	if directory == "" {
		directory = config.WorkingDir
	}
	if within(path.Join("/", directory)) || slices.ContainsFunc(ownPlaces, within) {
		return false
	}
	if slices.ContainsFunc(step.Mounts, func(m pipeline.Mount) bool { return within(m.Destination) }) {
		return false
	}
	if strings.Contains(step.Shell[0], "/") {
		return path.IsAbs(step.Shell[0])
	}
	return !slices.ContainsFunc(filepath.SplitList(cmp.Or(variable("PATH", step.Env, config.Env), sandbox.DefaultPath)), func(dir string) bool {
		return !path.IsAbs(dir) || within(path.Join(dir, step.Shell[0]))
	})
}

// isBelow reports whether a path is inside a directory, and not that itself.
func isBelow(place, dir string) bool {
	return strings.HasPrefix(path.Clean(place), strings.TrimSuffix(path.Clean(dir), "/")+"/")
}

// variable finds a variable in lists of NAME=value, the first of which counts most.
func variable(name string, lists ...[]string) string {
	for _, list := range lists {
		for _, entry := range slices.Backward(list) {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value
			}
		}
	}
	return ""
}

// asForeseen returns what was prepared ahead of a step's turn, or nil where it would be
// made of something else by now: the step is then prepared anew.
func (r *run) asForeseen(n *node, ahead *prepared) *prepared {
	if ahead == nil || len(n.inherited) == 0 && !toldOtherwise(n) && ahead.sandbox.IsCurrent() {
		return ahead
	}
	r.keepErr(ahead.remove())
	return nil
}
