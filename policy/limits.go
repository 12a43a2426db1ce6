package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
)

// ceilings are the most that a step may have, and what one has that asks for nothing. 0 is
// no ceiling.
type ceilings struct {
	cpus      float64       // of one CPU
	memory    int64         // bytes
	pids      int64         // processes and threads
	tmpfs     int64         // bytes of each tmpfs
	shmSize   int64         // bytes of /dev/shm
	output    int64         // bytes of a step's output that the log takes
	artifacts int64         // bytes of each artifact
	cache     int64         // bytes of each keyed cache
	timeout   time.Duration // of a run
	cpuShares int64         // weight; a step that asks for none has the kernel's
	ioWeight  int64         // weight; a step that asks for none has the kernel's

	cpusetCPUs, cpusetMems string           // lists such as 0-3,8; "": all
	ulimits                map[string]int64 // hard limits by name; a step that asks for none has the runtime's
}

// limitKeys are the keys of a step that the ceilings bound.
func limitKeys() []string {
	return []string{
		"cpus", "cpu_quota", "cpu_period", "cpu_shares", "cpuset_cpus", "cpuset_mems", "io_weight", "memory", "memory_swap", "pids", "shm_size",
		"ulimits", "output_limit", "timeout", "artifacts",
	}
}

func (c *check) limits() {
	l, most := &c.step.Limits, &c.rules.limits
	c.cpus()
	bound(c, "memory", &l.Memory, most.memory, bytesOf)
	c.swap()
	bound(c, "pids", &l.Pids, most.pids, numberOf)
	c.weights()
	c.cpuset("cpuset_cpus", &l.CpusetCPUs, most.cpusetCPUs)
	c.cpuset("cpuset_mems", &l.CpusetMems, most.cpusetMems)
	c.ulimits()
	bound(c, "shm_size", &l.ShmSize, most.shmSize, bytesOf)
	bound(c, "output_limit", &c.step.OutputLimit, most.output, bytesOf)
	for i := range c.step.Artifacts {
		bound(c, "artifacts", &c.step.Artifacts[i].MaxSize, most.artifacts, bytesOf)
	}
	for i := range c.step.Caches {
		bound(c, "cache", &c.step.Caches[i].MaxSize, most.cache, bytesOf)
	}
	c.tmpfs()
	if timeout := c.step.Timeout; most.timeout > 0 && timeout > most.timeout {
		c.exceeds("timeout", pipeline.DurationText(timeout), pipeline.DurationText(most.timeout))
	}
}

// bound holds a limit against its ceiling and fills in the ceiling where the step asks for
// no limit.
func bound[N int64 | float64](c *check, key string, value *N, most N, text func(N) string) {
	switch {
	case most == 0:
	case *value == 0:
		*value = most
	case *value < 0:
		c.exceeds(key, "without limit", text(most))
	case *value > most:
		c.exceeds(key, text(*value), text(most))
	}
}

func (c *check) exceeds(key, value, most string) {
	c.deny(key, value, "the most is "+most, "limits")
}

func bytesOf(n int64) string  { return units.BytesSize(float64(n)) }
func numberOf(n int64) string { return fmt.Sprint(n) }

// cpus bounds CPUs however they are asked for.
func (c *check) cpus() {
	l, most := &c.step.Limits, c.rules.limits.cpus
	text := func(n float64) string { return fmt.Sprintf("%g CPUs", n) }
	if l.CPUQuota == 0 || l.CPUs > 0 {
		bound(c, "cpus", &l.CPUs, most, text)
		return
	}
	period := l.CPUPeriod
	if period == 0 {
		period = 100_000 // microseconds, the kernel's own
	}
	if asked := float64(l.CPUQuota) / float64(period); most > 0 && asked > most {
		c.exceeds("cpu_quota", text(asked), text(most))
	}
}

// swap is bounded with memory: docker's default is as much of the one as of the other.
func (c *check) swap() {
	swap, most := c.step.Limits.MemorySwap, 2*c.rules.limits.memory
	switch {
	case most == 0:
	case swap < 0:
		c.exceeds("memory_swap", "without limit", bytesOf(most))
	case swap > most:
		c.exceeds("memory_swap", bytesOf(swap), bytesOf(most))
	}
}

// tmpfs gives every tmpfs a size: one without has half of the machine's memory.
func (c *check) tmpfs() {
	most := c.rules.limits.tmpfs
	if most == 0 {
		return
	}
	for i := range c.step.Mounts {
		m := &c.step.Mounts[i]
		if m.Type != "tmpfs" {
			continue
		}
		sized := false
		for _, option := range m.Options {
			name, value, _ := strings.Cut(option, "=")
			switch name {
			case "nr_blocks":
				c.deny(fmt.Sprintf("mounts[%d]", i), option, "write size= in its place", "limits")
			case "size":
				sized = true
				if bytes, err := units.RAMInBytes(value); err != nil || bytes > most {
					c.exceeds(fmt.Sprintf("mounts[%d]", i), option, bytesOf(most))
				}
			}
		}
		if !sized {
			m.Options = append(m.Options, fmt.Sprintf("size=%d", most))
		}
	}
}

// checkRun bounds the time of the whole run, and with it that of services and detached
// steps.
func (p *Policy) checkRun(plan *pipeline.Plan) Denials {
	most := p.rules.limits.timeout
	switch {
	case p.all || most == 0:
	case plan.Timeout == 0:
		plan.Timeout = most
	case plan.Timeout > most:
		return Denials{p.denial("", "timeout", pipeline.DurationText(plan.Timeout), "the most is "+pipeline.DurationText(most), "limits")}
	}
	return nil
}

// limits reads the ceilings of a policy file.
func (r *reader) limits(key string, n *yaml.Node) {
	l := &r.policy.rules.limits
	at := r.policy.at[key]
	size := func(to *int64) func(string, *yaml.Node) {
		return func(key string, n *yaml.Node) {
			bytes, err := units.RAMInBytes(n.Value)
			if err != nil || bytes <= 0 || strings.ContainsAny(n.Value, "-+") {
				r.fail(n, key, "must be a size such as 512MiB", "")
			}
			*to = bytes
		}
	}
	r.mapping(n, map[string]func(string, *yaml.Node){
		"cpus": func(key string, n *yaml.Node) {
			if err := n.Decode(&l.cpus); err != nil || !(l.cpus > 0 && l.cpus < 1<<20) {
				r.fail(n, key, "must be a number of CPUs such as 1.5", "")
			}
		},
		"memory": size(&l.memory),
		"pids": func(key string, n *yaml.Node) {
			if err := n.Decode(&l.pids); err != nil || l.pids <= 0 {
				r.fail(n, key, "must be a number of processes", "")
			}
		},
		"cpu_shares":   r.weight(&l.cpuShares, 2, 262144),
		"io_weight":    r.weight(&l.ioWeight, 10, 1000),
		"cpuset_cpus":  r.cpuset(&l.cpusetCPUs),
		"cpuset_mems":  r.cpuset(&l.cpusetMems),
		"ulimits":      r.ulimits,
		"tmpfs":        size(&l.tmpfs),
		"shm_size":     size(&l.shmSize),
		"output_limit": size(&l.output),
		"artifacts":    size(&l.artifacts),
		"cache":        size(&l.cache),
		"timeout": func(key string, n *yaml.Node) {
			var err error
			if l.timeout, err = time.ParseDuration(n.Value); err != nil || l.timeout <= 0 {
				r.fail(n, key, "must be a duration such as 1h30m", "")
			}
		},
	})
	r.policy.at[key] = at
}
