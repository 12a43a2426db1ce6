package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// collect collects the artifacts of a step that has ended. A step that succeeded, and of which
// something cannot be collected, has failed: whoever looks for its files later would not find
// them. Collecting goes on after an interrupt, as steps that always run do.
func (r *run) collect(n *node, end outcome) outcome {
	if n.result.Started.IsZero() {
		return end // nothing of it ran
	}
	succeeded := end.status == event.Succeeded
	for i := range n.step.Artifacts {
		a := &n.step.Artifacts[i]
		if !a.IsDue(succeeded) {
			continue
		}
		err := r.collectOne(n, a)
		if err == nil {
			continue
		}
		err = fmt.Errorf("collect the artifact %s: %w", a.Name, err)
		if end.status == event.Succeeded {
			end = outcome{event.Failed, event.CodeError, err}
		} else {
			r.warnArtifact(n, err.Error())
		}
	}
	return end
}

func (r *run) collectOne(n *node, a *pipeline.Artifact) error {
	if r.o.Artifacts == nil {
		return errors.New("there is no folder for artifacts (name one: --artifacts DIR)")
	}
	patterns, err := artifact.ParsePatterns(a.Paths)
	if err != nil {
		return err
	}
	workspace, err := r.openWorkspace(n)
	if err != nil {
		return fmt.Errorf("open the workspace: %w", err)
	}
	defer workspace.Close()
	got, err := r.o.Artifacts.Collect(r.life.always, workspace, a.Name, patterns, artifact.Limits{Bytes: a.MaxSize})
	if err != nil {
		return err
	}
	if got.Links > 0 {
		text := fmt.Sprintf("artifact %s: left out what is a link to a folder, to nothing or out of the workspace: %s", a.Name, strings.Join(got.LeftOut, ", "))
		if more := got.Links - len(got.LeftOut); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		r.warnArtifact(n, text)
	}
	if got.Files == 0 {
		err := fmt.Errorf("no file matches %s", strings.Join(a.Paths, ", "))
		if a.Required {
			return err
		}
		r.warnArtifact(n, fmt.Sprintf("artifact %s: %v", a.Name, err))
		return nil
	}
	n.result.Artifacts = append(n.result.Artifacts, event.Artifact{
		Name: a.Name, Folder: r.mask.String(filepath.Join(r.o.Artifacts.Path(), a.Name)), Files: got.Files, Bytes: got.Bytes,
	})
	return nil
}

func (r *run) warnArtifact(n *node, text string) {
	r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: r.mask.String(text)})
}

// openWorkspace opens what a step has as its workspace. An earlier step may have replaced the
// folder that it mounts.
func (r *run) openWorkspace(n *node) (*os.File, error) {
	for _, m := range n.step.Mounts {
		if m.Destination != r.plan.WorkspacePath {
			continue
		}
		switch m.Type {
		case "bind":
			return r.openHost(m.Source, unix.O_PATH|unix.O_DIRECTORY)
		case pipeline.MountVolume:
			folder, err := r.o.Host.Volume(m.Source)
			if err != nil {
				return nil, err
			}
			return os.OpenFile(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		}
		return nil, fmt.Errorf("the step mounts a %s there, whose files cannot be collected", m.Type)
	}
	return nil, errors.New("the step has none")
}
