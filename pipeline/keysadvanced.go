package pipeline

import "go.yaml.in/yaml/v3"

// advancedKeys are the keys of what few steps need.
func advancedKeys() []Key {
	return []Key{
		{
			Name: "tty", Class: Free, Fields: []string{"Advanced.TTY"},
			Doc:    "A terminal for all three streams.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "tty", Short: "t", Kind: ToggleFlag, Usage: "give the command a terminal, on all three of its streams"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.TTY = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Advanced.TTY) },
		},
		{
			Name: "init", Class: Free, Fields: []string{"Advanced.Init"},
			Doc:    "An init process as process 1, which passes signals on to the command and collects orphans.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "init", Kind: ToggleFlag, Usage: "run an init process as process 1, which passes signals on and collects orphans"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.Init = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Advanced.Init) },
		},
		{
			Name: "namespaces", Class: Joins, Fields: []string{"Advanced.Namespaces"},
			Doc:    "Namespaces to join: a map from types to absolute paths; ipc, pid, uts and cgroup also to host.",
			Schema: `{"$ref": "#/$defs/namespaces"}`,
			Flags: []KeyFlag{
				{Name: "with-ns", Kind: ColonFlag, Usage: "join an existing namespace, given as `TYPE:PATH`, such as network:/run/netns/a"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.Namespaces = p.namespaces(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return textsNode(s.Advanced.Namespaces) },
		},
		{
			Name: "sysctls", Class: Free, Fields: []string{"Advanced.Sysctls"},
			Doc:    "Settings of the kernel for namespaces of the step's own: those of net.* that each network has, with network: private or none, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm*.",
			Schema: `{"$ref": "#/$defs/sysctls"}`,
			Flags: []KeyFlag{
				{Name: "sysctl", Kind: PairFlag, Usage: "set a kernel parameter, `NAME=VALUE`, in the command's own namespaces"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.Sysctls = p.sysctls(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return textsNode(s.Advanced.Sysctls) },
		},
		{
			Name: "labels", Class: HostResource, Fields: []string{"Advanced.Labels"},
			Doc:    "OCI annotations.",
			Schema: `{"$ref": "#/$defs/labels"}`,
			Flags: []KeyFlag{
				{Name: "label", Short: "l", Kind: PairFlag, Usage: "add an OCI annotation, `NAME=VALUE`"},
				{Name: "annotation", Kind: PairFlag, Usage: "same as --label `NAME=VALUE`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.Labels = p.labels(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return textsNode(s.Advanced.Labels) },
		},
		{
			Name: "stop_signal", Class: Free, Fields: []string{"Advanced.StopSignal"},
			Doc:    "Signal that asks the step to end, in place of the image's: a name or a number.",
			Schema: `{"anyOf": [{"type": "string", "pattern": "^(SIG)?[A-Z][A-Z0-9+-]*$"}, {"type": "integer", "minimum": 1, "maximum": 64}]}`,
			Flags: []KeyFlag{
				{Name: "stop-signal", Kind: TextFlag, Usage: "`SIGNAL` that asks the command to end (default: as the image says, or SIGTERM)"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.StopSignal = p.stopSignal(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Advanced.StopSignal) },
		},
		{
			Name: "cgroup_parent", Class: HostResource, Fields: []string{"Advanced.CgroupParent"},
			Doc:    "Absolute path of a cgroup, or a systemd slice.",
			Schema: `{"type": "string", "pattern": "^(/[^\\x00-\\x1f\\x7f]*|[^/\\x00-\\x1f\\x7f]*\\.slice)$"}`,
			Flags: []KeyFlag{
				{Name: "cgroup", Kind: TextFlag, Usage: "`PATH` of the cgroup in which the command's own cgroup is made"},
				{Name: "cgroup-parent", Kind: TextFlag, Usage: "same as --cgroup `PATH`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Advanced.CgroupParent = p.cgroupParent(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Advanced.CgroupParent) },
		},
		{
			Name: "spec_patch", Class: Privilege, Fields: []string{"Advanced.SpecPatch"},
			Doc:    "JSON merge patch (RFC 7396) of the generated OCI runtime specification.",
			Schema: `{"type": "object"}`,
			read:   func(p *parser, s *Step, v value) { s.Advanced.SpecPatch = p.specPatch(v) },
			write:  func(_ *writer, s *Step) *yaml.Node { return patchNode(s.Advanced.SpecPatch) },
		},
	}
}
