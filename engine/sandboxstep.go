package engine

import (
	"slices"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// sandboxStep is a planned step in the words of package sandbox.
func (r *run) sandboxStep(n *node, image *fetch.Image, mounts []sandbox.Mount) *sandbox.Step {
	step := n.step
	s := &sandbox.Step{
		ID: n.sandboxID(), Image: step.Image, Lowerdirs: image.Lowerdirs, Config: image.Config.Config,
		Script: step.Script, Shell: step.Shell, Entrypoint: step.Entrypoint, Args: step.Args,
		Env: slices.Concat(n.work.inherited, step.Env, r.fromRun(n)), Directory: step.Directory, User: step.User, Network: step.Network,
		HostNames: r.hostNames(), Mounts: mounts,
		Workspace: r.plan.WorkspaceSource, Roots: r.admitted.Roots(),
		Names:    sandboxNames(step),
		Limits:   sandboxLimits(&step.Limits),
		Security: sandboxSecurity(&step.Security),
		Advanced: sandbox.Advanced(step.Advanced),
	}
	if step.Owner != nil {
		s.WorkspaceOwner = &sandbox.Owner{UID: step.Owner.UID, GID: step.Owner.GID}
	}
	for _, file := range step.SecretFiles {
		s.Secrets = append(s.Secrets, sandbox.Secret{Path: file.Path, Value: file.Value})
	}
	return s
}

func sandboxNames(step *pipeline.PlannedStep) sandbox.Names {
	n := &step.Names
	names := sandbox.Names{Hostname: n.Hostname, DNS: n.DNS, DNSSearch: n.DNSSearch, DNSOptions: n.DNSOptions}
	isLabel := pipeline.IsHostName(step.Name) && !strings.Contains(step.Name, ".")
	if n.Hostname == "" && step.Network != sandbox.NetworkHost && isLabel {
		names.Hostname = step.Name // of the host's network, the host's
	}
	for _, host := range n.ExtraHosts {
		names.ExtraHosts = append(names.ExtraHosts, sandbox.HostAddress(host))
	}
	for _, port := range n.Ports {
		names.Ports = append(names.Ports, sandbox.Port(port))
	}
	return names
}

func sandboxLimits(l *pipeline.Limits) sandbox.Limits {
	limits := sandbox.Limits{
		CPUs: l.CPUs, CPUQuota: l.CPUQuota, CPUPeriod: l.CPUPeriod, CPUShares: l.CPUShares,
		CpusetCPUs: l.CpusetCPUs, CpusetMems: l.CpusetMems,
		Memory: l.Memory, MemorySwap: l.MemorySwap, Pids: l.Pids, IOWeight: l.IOWeight, ShmSize: l.ShmSize,
	}
	for _, ulimit := range l.Ulimits {
		limits.Ulimits = append(limits.Ulimits, sandbox.Ulimit(ulimit))
	}
	return limits
}

func sandboxSecurity(s *pipeline.Security) sandbox.Security {
	security := sandbox.Security{
		Privileged: s.Privileged, AllowNewPrivileges: s.AllowNewPrivileges, ReadOnly: s.ReadOnly,
		CapAdd: s.CapAdd, CapDrop: s.CapDrop, Seccomp: s.Seccomp, AppArmor: s.AppArmor, CDI: s.CDI,
		UIDMap: sandboxIDMaps(s.UIDMap), GIDMap: sandboxIDMaps(s.GIDMap),
	}
	for _, device := range s.Devices {
		security.Devices = append(security.Devices, sandbox.Device(device))
	}
	return security
}

func sandboxIDMaps(maps []pipeline.IDMap) []sandbox.IDMap {
	var all []sandbox.IDMap
	for _, m := range maps {
		all = append(all, sandbox.IDMap(m))
	}
	return all
}

// usageOf is what a step used, in the form of events.
func usageOf(u sandbox.Usage) *event.Usage {
	return &event.Usage{
		User: event.Millis(u.User), System: event.Millis(u.System), Throttled: event.Millis(u.Throttled),
		PeakMemory: u.PeakMemory, BytesRead: u.BytesRead, BytesWritten: u.BytesWritten,
		PeakPids: u.PeakPids, OOMKills: u.OOMKills,
	}
}
