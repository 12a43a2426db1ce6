package engine

import (
	"cmp"
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/sandbox"
)

// maxAhead bounds how many steps are prepared ahead of their turn: each of them costs a
// process and some mounts. One would not do, because creating a container takes longer
// than a short step runs.
const maxAhead = 4

// prepareAhead prepares a step while steps before it still run or wait, so that its turn
// costs no more than a start. It returns nil when that is not safe or failed; the step is
// then prepared at its turn, and an error that persists is reported there. What it returns
// holds one of the places of r.ahead.
func (r *run) prepareAhead(ctx context.Context, n *node) (p *prepared) {
	for _, dep := range n.deps { // the nearest steps first
		select {
		case <-dep.life.reached(ahead):
		case <-ctx.Done():
			return nil
		}
	}
	if !n.step.RunOn.Success {
		n.life.move(ahead) // it is skipped if all goes well: the steps after it need not wait for it
	}
	if !r.canPrepareAhead(n) {
		return nil
	}
	select {
	case r.ahead <- struct{}{}:
	case <-n.life.turn.Turn():
		return nil
	case <-ctx.Done():
		return nil
	}
	defer func() {
		if p == nil {
			<-r.ahead
		}
	}()
	n.life.move(ahead)
	image, err := r.images.Get(ctx, wanted(n.step))
	if err != nil || !isFixed(n.step, image) {
		return nil
	}
	if p, err = r.prepare(ctx, n); err != nil {
		return nil
	}
	return p
}

// canPrepareAhead reports whether no step that runs before this one can change what its
// container is made of, or sees what is made for it. A command other than a script is
// looked up when the container is created, maybe in a mount, and a running step could
// replace a mount source in the workspace by a link to anywhere on the host. The same is
// true of the files that the step reads from, prints to and is confined by, of its root
// directory if that is the host's, and of namespaces that it joins. A port that it
// publishes may belong to another step until its turn.
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

// isFixedMount reports whether no step can replace the source of a mount: the sources of
// volumes and caches are stepexec's own, and steps see the workspace only from within.
func (r *run) isFixedMount(m pipeline.Mount) bool {
	switch m.Type {
	case pipeline.MountCache:
		return !m.Fill // an earlier step may be the first to put something there
	case pipeline.MountVolume, "tmpfs":
		return true
	}
	return m.Source == r.plan.WorkspaceSource && path.Clean(m.Destination) == r.plan.WorkspacePath
}

// ownPlaces are the places of mounts that stepexec and the runtime make in every container.
var ownPlaces = []string{"/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf", "/run/stepexec", "/run/secrets"}

// isFixed reports whether creating a step's container neither reads from its mounts, which
// earlier steps may still fill, nor writes to them. The runtime makes the places of mounts
// and the working directory, which must not appear in the workspace before the step's turn
// (`git clone` wants it empty), and it looks up a shell that is given without a path.
func isFixed(step *pipeline.PlannedStep, image *fetch.Image) bool {
	config := &image.Config.Config
	within := func(place string) bool { // in a mount, and not the place of the mount itself
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
	for declared := range config.Volumes {
		if within(path.Join("/", declared)) {
			return false
		}
	}
	if strings.Contains(step.Shell[0], "/") {
		return path.IsAbs(step.Shell[0])
	}
	return !slices.ContainsFunc(filepath.SplitList(cmp.Or(variable("PATH", step.Env, config.Env), sandbox.DefaultPath)), func(dir string) bool {
		return !path.IsAbs(dir) || within(path.Join(dir, step.Shell[0]))
	})
}

// isBelow reports whether a path is inside a directory, and not the directory itself.
func isBelow(place, dir string) bool {
	return strings.HasPrefix(path.Clean(place), strings.TrimSuffix(path.Clean(dir), "/")+"/")
}

// variable returns the value of a variable in lists of NAME=value; "" if it is in none. An earlier
// list wins.
func variable(name string, lists ...[]string) string {
	value, _ := lookUp(name, lists...)
	return value
}

// lookUp is variable, and says whether a list has the variable.
func lookUp(name string, lists ...[]string) (value string, found bool) {
	for _, list := range lists {
		for _, entry := range slices.Backward(list) {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value, true
			}
		}
	}
	return "", false
}

// asForeseen returns what was prepared ahead of a step's turn, or nil if it would be made
// differently now: the step is then prepared again.
func (r *run) asForeseen(n *node, p *prepared) *prepared {
	if p == nil || len(n.work.inherited) == 0 && !toldOtherwise(n) && p.sandbox.IsCurrent() {
		return p
	}
	r.keepErr(p.remove())
	return nil
}
