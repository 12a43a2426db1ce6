package engine

import (
	"slices"
	"strings"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// sandboxStep makes a sandbox's step of a planned step, its image and its resolved mounts.
func (r *run) sandboxStep(n *node, image *fetch.Image, mounts []sandbox.Mount) *sandbox.Step {
	step := n.step
	s := &sandbox.Step{
		ID: n.sandboxID(), Image: step.Image, Lowerdirs: image.Lowerdirs, Config: image.Config.Config,
		Script: step.Script, Shell: step.Shell, Entrypoint: step.Entrypoint, Args: step.Args,
		Env: slices.Concat(n.work.inherited, step.Env, r.fromRun(n)), Directory: step.Directory, User: step.User, Network: step.Network,
		Aliases: r.aliases(n), Peers: r.peers(), Egress: step.Egress, Refused: r.refused(n), Mounts: mounts,
		Workspace: r.plan.WorkspaceSource, SafeDirectory: step.SafeDirectory, Roots: r.roots(),
		Names: containerNames(step), Limits: step.Limits, Security: step.Security, Advanced: step.Advanced,
	}
	if r.o.TraceParent != nil && variable("TRACEPARENT", s.Env) == "" {
		if parent := r.o.TraceParent(step.Name); parent != "" {
			s.Env = append(s.Env, "TRACEPARENT="+parent)
		}
	}
	if step.Owner != nil {
		s.WorkspaceOwner = &sandbox.Owner{UID: step.Owner.UID, GID: step.Owner.GID}
	}
	for _, file := range step.SecretFiles {
		s.Secrets = append(s.Secrets, sandbox.Secret{Path: file.Path, Value: file.Value})
	}
	return s
}

// containerNames returns a step's names. On a network of its own, a step is called by its
// name in the pipeline unless it has a hostname.
func containerNames(step *pipeline.PlannedStep) container.Names {
	names := step.Names
	isLabel := pipeline.IsHostName(step.Name) && !strings.Contains(step.Name, ".")
	if names.Hostname == "" && step.Network != sandbox.NetworkHost && isLabel {
		names.Hostname = step.Name
	}
	return names
}

// usageOf returns the resources that a step has used, as events report them.
func usageOf(u sandbox.Usage) *event.Usage {
	return &event.Usage{
		User: event.Millis(u.User), System: event.Millis(u.System), Throttled: event.Millis(u.Throttled),
		PeakMemory: u.PeakMemory, BytesRead: u.BytesRead, BytesWritten: u.BytesWritten,
		PeakPids: u.PeakPids, OOMKills: u.OOMKills,
	}
}
