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

// leftRoot is what a step that has ended has left: its root file system, which a
// shell is opened in, or which is kept.
type leftRoot struct {
	step    *sandbox.Step
	upper   string
	removed chan struct{} // closed once its container is gone
	err     error         // of that
}

// takeAway removes what a step ran in while the next steps run: it takes 5 ms and
// more. It waits while there is too much to be removed. Its root file system stays where something is still to be done with it.
func (r *run) takeAway(n *node, p *prepared, end outcome) {
	left := &leftRoot{step: p.step, removed: make(chan struct{})}
	if r.keeps(n, end) || r.wantsShell(n, end) {
		left.upper = p.sandbox.LeaveRoot()
		n.left = left
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
	return n.step.Keep || r.o.KeepFailed && !n.isBeside() && (end.status == event.Failed || end.status == event.TimedOut)
}

// keepRoot keeps what a step has left, if it is to be kept.
func (r *run) keepRoot(n *node, end outcome) {
	if !r.keeps(n, end) {
		r.dropRoot(n)
		return
	}
	left := n.left
	if left == nil {
		if end.status == event.Failed && n.result.Started.IsZero() {
			r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: "nothing to keep: its container could not be made"})
		}
		return
	}
	n.left = nil
	r.removals.Go(func() {
		<-left.removed
		if left.err != nil {
			return // it may still be mounted; the error has been told
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
	})
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	plain := func(c rune) bool {
		return c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if strings.IndexFunc(word, func(c rune) bool { return !plain(c) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// dropRoot removes what a step, or an attempt at it, has left.
func (r *run) dropRoot(n *node) {
	left := n.left
	if left == nil {
		return
	}
	n.left = nil
	r.removals.Go(func() {
		if <-left.removed; left.err == nil {
			r.keepErr(beneath.RemoveAll(left.upper))
		}
	})
}

// kept is a step without the secrets, of which none may come to a disk.
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

// isChannel knows the mounts by which a step tells the run of variables and masks.
func isChannel(m sandbox.Mount) bool {
	return m.Destination == pipeline.ExportsPath || m.Destination == pipeline.MaskPath
}

// keptMounts are a step's, without the files in memory by which it tells the run things. A
// cache may have been pruned by the time that they are used again.
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
