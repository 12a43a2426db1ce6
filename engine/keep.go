package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// leftRoot is the root file system that an ended step has left: a shell is opened in it, or
// it is kept.
type leftRoot struct {
	step    *sandbox.Step
	upper   string        // folder with the files that the step wrote; "": it is gone
	removed chan struct{} // closed once the container is gone
	err     error         // of the removal; final once removed is closed
}

// takeAway removes a step's container while the next steps run: that takes 5 ms and more. It
// waits while too many are being removed. The root file system stays if it is still needed.
func (r *run) takeAway(n *node, p *prepared, end outcome) {
	left := &leftRoot{step: p.step, removed: make(chan struct{})}
	if r.keeps(n, end) || r.wantsShell(n, end) {
		left.upper = p.sandbox.LeaveRoot()
		n.work.left = left
	}
	r.removing <- struct{}{}
	r.removals.Go(func() {
		defer func() { <-r.removing }()
		defer close(left.removed)
		if crashed := r.protect(func() { left.err = p.remove() }); crashed != nil {
			left.err = crashed
			return
		}
		r.keepErr(left.err)
	})
}

func (r *run) keeps(n *node, end outcome) bool {
	return n.step.Keep || r.o.OnFailure.Keep && !n.isBeside() && (end.status == event.Failed || end.status == event.TimedOut)
}

// keepRoot keeps the root file system of a step if the step is to be kept, and otherwise
// removes it.
func (r *run) keepRoot(n *node, end outcome) {
	if !r.keeps(n, end) {
		r.dropRoot(n)
		return
	}
	left := n.work.left
	if left == nil {
		if end.status == event.Failed && n.result.Started.IsZero() {
			r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "nothing to keep: the step's container could not be created"})
		}
		return
	}
	n.work.left = nil
	r.removals.Go(func() {
		_ = r.protect(func() { r.storeRoot(n, left, end) })
	})
}

// storeRoot keeps a root file system once its container is gone.
func (r *run) storeRoot(n *node, left *leftRoot, end outcome) {
	<-left.removed
	if left.err != nil {
		return // it may still be mounted; the run's error says why
	}
	k := r.kept(n, left.step, end)
	err := r.o.Fetcher.Store.Pin(context.Background(), r.o.Host.ID()+"-"+k.Step.ID, k.Step.Lowerdirs)
	if err == nil {
		err = r.o.Host.Keep(left.upper, k)
	}
	if err != nil {
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: err.Error()})
		return
	}
	r.emit(event.Event{Kind: event.StepKept, Step: n.step.Name, Text: fmt.Sprintf("kept: stepexec shell %s %s", r.o.Host.ID(), quoted(n.step.Name))})
}

// quoted quotes a word for a shell.
func quoted(word string) string {
	plain := func(c rune) bool {
		return c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if strings.IndexFunc(word, func(c rune) bool { return !plain(c) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// dropRoot removes what an attempt at a step has left.
func (r *run) dropRoot(n *node) {
	left := n.work.left
	if left == nil {
		return
	}
	n.work.left = nil
	r.removals.Go(func() {
		<-left.removed
		if left.err == nil {
			_ = r.protect(func() { r.keepErr(beneath.RemoveAll(left.upper)) })
		}
	})
}

// kept is the description of a kept step, without secrets: none may be written to a disk.
func (r *run) kept(n *node, left *sandbox.Step, end outcome) sandbox.Kept {
	k := sandbox.Kept{Name: n.step.Name, Pipeline: r.mask.String(r.name()), Ended: r.mask.String(end.String()), Step: *left, Withheld: map[string]string{}}
	s := &k.Step
	s.Env = nil
	for _, entry := range left.Env {
		name, value, _ := strings.Cut(entry, "=")
		if secret, ok := n.step.SecretEnv[name]; ok || r.mask.String(value) != value {
			k.Withheld[name] = secret
			continue
		}
		s.Env = append(s.Env, entry)
	}
	for _, file := range n.step.SecretFiles {
		k.Withheld[file.Path] = file.Name
	}
	s.Script, s.Entrypoint, s.Args = r.maskedBytes(left.Script), r.maskedAll(left.Entrypoint), r.maskedAll(left.Args)
	s.Advanced.Spec, s.Advanced.SpecPatch = r.maskedBytes(left.Advanced.Spec), r.maskedBytes(left.Advanced.SpecPatch)
	s.Advanced.Labels = maps.Clone(left.Advanced.Labels)
	for name, value := range s.Advanced.Labels {
		s.Advanced.Labels[name] = r.mask.String(value)
	}
	s.Advanced.PidFile = ""
	s.Mounts = r.keptMounts(n, left.Mounts)
	if r.shared != r.plan.WorkspaceSource {
		s.WorkspaceBelow = r.shared
	}
	return k
}

// isChannel reports whether a mount is one of the files through which a step passes
// variables and masks to the run.
func isChannel(m sandbox.Mount) bool {
	return m.Destination == pipeline.ExportsPath || m.Destination == pipeline.MaskPath
}

// keptMounts are the mounts of a step, without the files in memory through which it passes
// things to the run. A cache is created again if it was pruned in the meantime.
func (r *run) keptMounts(n *node, mounts []sandbox.Mount) []sandbox.Mount {
	var kept []sandbox.Mount
	for _, m := range mounts {
		if isChannel(m) {
			continue
		}
		m.Create = m.Create || slices.ContainsFunc(n.step.Mounts, func(p pipeline.Mount) bool {
			return p.Type == pipeline.MountCache && p.Destination == m.Destination
		})
		kept = append(kept, m)
	}
	return kept
}

func (r *run) maskedAll(texts []string) []string {
	if texts == nil {
		return nil
	}
	masked := []string{}
	for _, text := range texts {
		masked = append(masked, r.mask.String(text))
	}
	return masked
}

func (r *run) maskedBytes(text []byte) []byte {
	if text == nil {
		return nil
	}
	return []byte(r.mask.String(string(text)))
}
