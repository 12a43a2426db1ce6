package pipeline

import "go.yaml.in/yaml/v3"

// limitKeys are the keys of what a step may use.
func limitKeys() []Key {
	return []Key{
		{
			Name: "cpus", Class: Limit, Fields: []string{"Limits.CPUs"},
			Doc:    "Limit of CPUs.",
			Schema: `{"type": "number", "minimum": 0.01, "maximum": 1048576}`,
			Flags: []KeyFlag{
				{Name: "cpus", Kind: NumberFlag, Usage: "limit the command to `N` CPUs; fractions are allowed, such as 1.5"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUs = p.cpus(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return cpusNode(s.Limits.CPUs) },
		},
		{
			Name: "cpu_quota", Class: Limit, Fields: []string{"Limits.CPUQuota"},
			Doc:    "Microseconds of CPU in each cpu_period.",
			Schema: `{"type": "integer", "minimum": 1000, "maximum": 1099511627776}`,
			Flags: []KeyFlag{
				{Name: "cpu-quota", Kind: NumberFlag, Usage: "limit the command to `N` microseconds of CPU time in each --cpu-period"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUQuota = p.whole(v, minQuota, 1<<40) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUQuota) },
		},
		{
			Name: "cpu_period", Class: Limit, Fields: []string{"Limits.CPUPeriod"},
			Doc:    "Microseconds.",
			Schema: `{"type": "integer", "minimum": 1000, "maximum": 1000000, "default": 100000}`,
			Flags: []KeyFlag{
				{Name: "cpu-period", Kind: NumberFlag, Usage: "length of the period of --cpu-quota: `N` microseconds (default 100000)"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUPeriod = p.whole(v, minQuota, maxPeriod) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUPeriod) },
		},
		{
			Name: "cpu_shares", Class: Limit, Fields: []string{"Limits.CPUShares"},
			Doc:    "Relative weight; 1024 is usual.",
			Schema: `{"type": "integer", "minimum": 2, "maximum": 262144}`,
			Flags: []KeyFlag{
				{Name: "cpu-shares", Kind: NumberFlag, Usage: "relative CPU weight `N`; the usual weight is 1024"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUShares = p.whole(v, 2, 262144) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUShares) },
		},
		{
			Name: "cpuset_cpus", Class: Limit, Fields: []string{"Limits.CpusetCPUs"},
			Doc:    "CPUs to run on.",
			Schema: `{"$ref": "#/$defs/cpuset"}`,
			Flags: []KeyFlag{
				{Name: "cpuset-cpus", Kind: TextFlag, Usage: "run only on the CPUs in `LIST`, such as 0-3,8"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CpusetCPUs = p.cpuset(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Limits.CpusetCPUs) },
		},
		{
			Name: "cpuset_mems", Class: Limit, Fields: []string{"Limits.CpusetMems"},
			Doc:    "Memory nodes to use.",
			Schema: `{"$ref": "#/$defs/cpuset"}`,
			Flags: []KeyFlag{
				{Name: "cpuset-mems", Kind: TextFlag, Usage: "use only the memory nodes in `LIST`, such as 0,1"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CpusetMems = p.cpuset(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Limits.CpusetMems) },
		},
		{
			Name: "memory", Class: Limit, Fields: []string{"Limits.Memory"},
			Doc:    "Limit of memory; k, m, g and t are powers of 1024, a bare number is bytes.",
			Schema: `{"$ref": "#/$defs/size", "minimum": 6291456}`,
			Flags: []KeyFlag{
				{Name: "memory", Short: "m", Kind: SizeFlag, Usage: "limit the memory to `SIZE`, such as 512MiB"},
				{Name: "memory-limit", Kind: SizeFlag, Usage: "same as --memory, in `BYTES`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Memory = p.memory(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.Memory) },
		},
		{
			Name: "memory_swap", Class: Limit, Fields: []string{"Limits.MemorySwap"},
			Doc:    "Limit of memory and swap together; -1 for swap without limit.",
			Schema: `{"anyOf": [{"$ref": "#/$defs/size"}, {"enum": [-1, "-1", "unlimited"]}]}`,
			Flags: []KeyFlag{
				{Name: "memory-swap", Kind: SizeFlag, Usage: "limit memory and swap together to `SIZE`; -1 means no limit on swap"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.MemorySwap = p.memorySwap(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.MemorySwap) },
		},
		{
			Name: "pids", Class: Limit, Fields: []string{"Limits.Pids"},
			Doc:    "Limit of processes and threads.",
			Schema: `{"type": "integer", "minimum": 1, "maximum": 4194304}`,
			Flags: []KeyFlag{
				{Name: "pids-limit", Kind: NumberFlag, Usage: "limit the number of processes and threads to `N`"},
				{Name: "pids", Kind: NumberFlag, Usage: "same as --pids-limit `N`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Pids = p.whole(v, 1, 1<<22) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.Pids) },
		},
		{
			Name: "io_weight", Class: Limit, Fields: []string{"Limits.IOWeight"},
			Doc:    "Relative weight.",
			Schema: `{"type": "integer", "minimum": 10, "maximum": 1000}`,
			Flags: []KeyFlag{
				{Name: "blkio-weight", Kind: NumberFlag, Usage: "relative weight `N` for disk input and output, 10 to 1000"},
				{Name: "io-weight", Kind: NumberFlag, Usage: "same as --blkio-weight `N`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.IOWeight = p.whole(v, 10, 1000) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.IOWeight) },
		},
		{
			Name: "shm_size", Class: Limit, Fields: []string{"Limits.ShmSize"},
			Doc:    "Size of /dev/shm.",
			Schema: `{"$ref": "#/$defs/size"}`,
			Flags: []KeyFlag{
				{Name: "shm-size", Kind: SizeFlag, Usage: "`SIZE` of /dev/shm, such as 256MiB"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.ShmSize = p.size(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.ShmSize) },
		},
		{
			Name: "ulimits", Class: Limit, Fields: []string{"Limits.Ulimits"},
			Doc:    "Limits of setrlimit(2): a map from names to N, soft:hard or a map of both.",
			Schema: `{"$ref": "#/$defs/ulimits"}`,
			Flags: []KeyFlag{
				{Name: "ulimit", Kind: PairFlag, Usage: "set a resource limit, `NAME=SOFT[:HARD]`, such as nofile=1024"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Ulimits = p.ulimits(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return ulimitsNode(s.Limits.Ulimits) },
		},
	}
}
