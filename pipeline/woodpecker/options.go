package woodpecker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

// optionKeys are the keys of a native step that backend_options.stepexec may have: those
// that have no counterpart in a workflow.
var optionKeys = []string{
	"user", "timeout", "retry", "ready", "cache", "platform",
	"cpus", "cpu_quota", "cpu_period", "cpu_shares", "cpuset_cpus", "cpuset_mems", "memory", "memory_swap", "pids", "io_weight", "shm_size", "ulimits",
	"read_only", "cap_add", "cap_drop", "allow_new_privileges", "unmask", "group_add", "seccomp", "apparmor", "hostname",
}

// OptionKeys are the keys of a native step that backend_options.stepexec may have.
func OptionKeys() []string { return slices.Clone(optionKeys) }

// options adds the keys of backend_options.stepexec, in the words of a native file, and then
// the agent's limits.
func (t *translator) options(s *Step, step *pipeline.Step) {
	if given, ok := s.BackendOptions["stepexec"]; ok {
		extra, err := t.nativeOptions(given)
		if err != nil {
			t.fail(s, err)
			return
		}
		checksumSources(s, extra.Caches)
		merge(step, extra)
	}
	merge(step, &pipeline.Step{Limits: t.defaults.Limits})
}

// checksumSources makes the patterns of checksums relative to the sources. The workspace of a
// compiled workflow is the folder above: /woodpecker for sources in /woodpecker/src/HOST/OWNER/NAME.
func checksumSources(s *Step, caches []pipeline.KeyedCache) {
	sources, found := strings.CutPrefix(path.Clean(cmp.Or(s.Environment["CI_WORKSPACE"], s.WorkingDir)), path.Clean(s.WorkspaceBase)+"/")
	if !found {
		return
	}
	for _, c := range caches {
		for _, part := range c.Key {
			for i, pattern := range part.Checksum {
				rest, excluded := strings.CutPrefix(pattern, "!")
				part.Checksum[i] = path.Join(literal().Replace(sources), rest)
				if excluded {
					part.Checksum[i] = "!" + part.Checksum[i]
				}
			}
		}
	}
}

// literal replaces what a pattern would take for a wildcard.
var literal = sync.OnceValue(func() *strings.Replacer {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`)
})

// nativeOptions reads a map as the keys of a native step. The error is a pipeline.Errors.
func (t *translator) nativeOptions(given any) (*pipeline.Step, error) {
	const key = "backend_options.stepexec"
	options, ok := given.(map[string]any)
	if !ok {
		return nil, pipeline.Errors{{Key: key, Message: "must be a map"}}
	}
	document := map[string]any{"name": "step", "image": "image", "entrypoint": []string{"true"}}
	if _, waits := options["ready"]; waits {
		document["detach"] = true
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(optionKeys, name) {
			return nil, pipeline.Errors{{Key: key + "." + name, Message: "is not allowed here", Hint: "the keys are " + strings.Join(optionKeys, ", ")}}
		}
		if err := t.checkOption(name); err != nil {
			return nil, err
		}
		document[name] = options[name]
	}
	data, err := json.Marshal(map[string]any{"steps": []any{document}})
	if err != nil {
		return nil, pipeline.Errors{{Key: key, Message: fmt.Sprintf("cannot be read: %v", err)}}
	}
	p, err := pipeline.Parse("", data)
	if err != nil {
		for _, e := range err.(pipeline.Errors) {
			e.Line, e.Column, e.Key = 0, 0, key+strings.TrimPrefix(e.Key, "steps[0]")
		}
		return nil, err
	}
	return &p.Steps[0], nil
}

// merge fills in what a step leaves out.
func merge(step, extra *pipeline.Step) {
	step.User = cmp.Or(step.User, extra.User)
	step.Timeout = cmp.Or(step.Timeout, extra.Timeout)
	step.Platform = cmp.Or(step.Platform, extra.Platform)
	step.Names.Hostname = cmp.Or(step.Names.Hostname, extra.Names.Hostname)
	step.Mounts, step.Caches = append(step.Mounts, extra.Mounts...), append(step.Caches, extra.Caches...)
	if extra.Ready != nil {
		step.Ready = extra.Ready
	}
	if extra.Retry.Attempts > 0 {
		step.Retry = extra.Retry
	}
	mergeLimits(&step.Limits, &extra.Limits)
	s, e := &step.Security, &extra.Security
	s.ReadOnly, s.AllowNewPrivileges = s.ReadOnly || e.ReadOnly, s.AllowNewPrivileges || e.AllowNewPrivileges
	step.NoNewPrivileges = step.NoNewPrivileges || extra.NoNewPrivileges
	s.Unmask, s.Groups = s.Unmask || e.Unmask, append(s.Groups, e.Groups...)
	s.CapAdd, s.CapDrop = append(s.CapAdd, e.CapAdd...), append(s.CapDrop, e.CapDrop...)
	s.Seccomp, s.AppArmor = cmp.Or(s.Seccomp, e.Seccomp), cmp.Or(s.AppArmor, e.AppArmor)
}

func mergeLimits(l, e *pipeline.Limits) {
	l.CPUs = cmp.Or(l.CPUs, e.CPUs)
	l.CPUQuota, l.CPUPeriod, l.CPUShares = cmp.Or(l.CPUQuota, e.CPUQuota), cmp.Or(l.CPUPeriod, e.CPUPeriod), cmp.Or(l.CPUShares, e.CPUShares)
	l.CpusetCPUs, l.CpusetMems = cmp.Or(l.CpusetCPUs, e.CpusetCPUs), cmp.Or(l.CpusetMems, e.CpusetMems)
	l.Memory, l.MemorySwap = cmp.Or(l.Memory, e.Memory), cmp.Or(l.MemorySwap, e.MemorySwap)
	l.Pids, l.IOWeight, l.ShmSize = cmp.Or(l.Pids, e.Pids), cmp.Or(l.IOWeight, e.IOWeight), cmp.Or(l.ShmSize, e.ShmSize)
	if l.Ulimits == nil {
		l.Ulimits = e.Ulimits
	}
}
