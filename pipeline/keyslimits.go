package pipeline

import "gopkg.in/yaml.v3"

// limitKeys are the keys of what a step may use.
func limitKeys() []Key {
	return []Key{
		{
			Name: "cpus", Class: Limit, Fields: []string{"Limits.CPUs"},
			Doc:    "Limit of CPUs.",
			Schema: `{"type": "number", "minimum": 0.01, "maximum": 1048576}`,
			Flags: []KeyFlag{
				{Name: "cpus", Kind: NumberFlag, Usage: "limit: `N` CPUs, such as 1.5"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUs = p.cpus(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return cpusNode(s.Limits.CPUs) },
		},
		{
			Name: "cpu_quota", Class: Limit, Fields: []string{"Limits.CPUQuota"},
			Doc:    "Microseconds of CPU in each cpu_period.",
			Schema: `{"type": "integer", "minimum": 1000, "maximum": 1099511627776}`,
			Flags: []KeyFlag{
				{Name: "cpu-quota", Kind: NumberFlag, Usage: "limit: `N` microseconds of CPU in each --cpu-period"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUQuota = p.whole(v, minQuota, 1<<40) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUQuota) },
		},
		{
			Name: "cpu_period", Class: Limit, Fields: []string{"Limits.CPUPeriod"},
			Doc:    "Microseconds.",
			Schema: `{"type": "integer", "minimum": 1000, "maximum": 1000000, "default": 100000}`,
			Flags: []KeyFlag{
				{Name: "cpu-period", Kind: NumberFlag, Usage: "`N` microseconds (default 100000)"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUPeriod = p.whole(v, minQuota, maxPeriod) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUPeriod) },
		},
		{
			Name: "cpu_shares", Class: Limit, Fields: []string{"Limits.CPUShares"},
			Doc:    "Relative weight; 1024 is usual.",
			Schema: `{"type": "integer", "minimum": 2, "maximum": 262144}`,
			Flags: []KeyFlag{
				{Name: "cpu-shares", Kind: NumberFlag, Usage: "weight `N` among others; 1024 is usual"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CPUShares = p.whole(v, 2, 262144) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.CPUShares) },
		},
		{
			Name: "cpuset_cpus", Class: Limit, Fields: []string{"Limits.CpusetCPUs"},
			Doc:    "CPUs to run on.",
			Schema: `{"$ref": "#/$defs/cpuset"}`,
			Flags: []KeyFlag{
				{Name: "cpuset-cpus", Kind: TextFlag, Usage: "CPUs to run on, a `LIST` such as 0-3,8"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CpusetCPUs = p.cpuset(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Limits.CpusetCPUs) },
		},
		{
			Name: "cpuset_mems", Class: Limit, Fields: []string{"Limits.CpusetMems"},
			Doc:    "Memory nodes to use.",
			Schema: `{"$ref": "#/$defs/cpuset"}`,
			Flags: []KeyFlag{
				{Name: "cpuset-mems", Kind: TextFlag, Usage: "memory nodes to use, a `LIST`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.CpusetMems = p.cpuset(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Limits.CpusetMems) },
		},
		{
			Name: "memory", Class: Limit, Fields: []string{"Limits.Memory"},
			Doc:    "Limit of memory; k, m, g and t are powers of 1024, a bare number is bytes.",
			Schema: `{"$ref": "#/$defs/size", "minimum": 6291456}`,
			Flags: []KeyFlag{
				{Name: "memory", Short: "m", Kind: SizeFlag, Usage: "limit: `SIZE` such as 512MiB"},
				{Name: "memory-limit", Kind: SizeFlag, Usage: "limit: `BYTES`, like --memory"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Memory = p.memory(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.Memory) },
		},
		{
			Name: "memory_swap", Class: Limit, Fields: []string{"Limits.MemorySwap"},
			Doc:    "Limit of memory and swap together; -1 for swap without limit.",
			Schema: `{"anyOf": [{"$ref": "#/$defs/size"}, {"enum": [-1, "-1", "unlimited"]}]}`,
			Flags: []KeyFlag{
				{Name: "memory-swap", Kind: SizeFlag, Usage: "limit of memory and swap together: `SIZE`, or -1"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.MemorySwap = p.memorySwap(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.MemorySwap) },
		},
		{
			Name: "pids", Class: Limit, Fields: []string{"Limits.Pids"},
			Doc:    "Limit of processes and threads.",
			Schema: `{"type": "integer", "minimum": 1, "maximum": 4194304}`,
			Flags: []KeyFlag{
				{Name: "pids-limit", Kind: NumberFlag, Usage: "limit: `N` processes and threads"},
				{Name: "pids", Kind: NumberFlag, Usage: "limit: `N`, like --pids-limit"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Pids = p.whole(v, 1, 1<<22) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.Pids) },
		},
		{
			Name: "io_weight", Class: Limit, Fields: []string{"Limits.IOWeight"},
			Doc:    "Relative weight.",
			Schema: `{"type": "integer", "minimum": 10, "maximum": 1000}`,
			Flags: []KeyFlag{
				{Name: "blkio-weight", Kind: NumberFlag, Usage: "weight `N` among others, 10 to 1000"},
				{Name: "io-weight", Kind: NumberFlag, Usage: "weight `N`, like --blkio-weight"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.IOWeight = p.whole(v, 10, 1000) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.IOWeight) },
		},
		{
			Name: "shm_size", Class: Limit, Fields: []string{"Limits.ShmSize"},
			Doc:    "Size of /dev/shm.",
			Schema: `{"$ref": "#/$defs/size"}`,
			Flags: []KeyFlag{
				{Name: "shm-size", Kind: SizeFlag, Usage: "`SIZE` of /dev/shm"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.ShmSize = p.size(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asNumber(s.Limits.ShmSize) },
		},
		{
			Name: "ulimits", Class: Limit, Fields: []string{"Limits.Ulimits"},
			Doc:    "Limits of setrlimit(2): a map from names to N, soft:hard or a map of both.",
			Schema: `{"$ref": "#/$defs/ulimits"}`,
			Flags: []KeyFlag{
				{Name: "ulimit", Kind: PairFlag, Usage: "`NAME=SOFT[:HARD]`, such as nofile=1024"},
			},
			read:  func(p *parser, s *Step, v value) { s.Limits.Ulimits = p.ulimits(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return ulimitsNode(s.Limits.Ulimits) },
		},
	}
}
