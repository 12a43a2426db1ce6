package pipeline

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// securityKeys are the keys of what loosens or tightens a step's confinement.
func securityKeys() []Key {
	return []Key{
		{
			Name: "privileged", Class: Privilege, Fields: []string{"Security.Privileged"},
			Doc:    "All rights on the host.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "privileged", Kind: ToggleFlag, Usage: "give the command all rights on the host"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.Privileged = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Security.Privileged) },
		},
		{
			Name: "allow_new_privileges", Class: Privilege, Fields: []string{"Security.AllowNewPrivileges"},
			Doc:    "Lets setuid programs work.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "allow-new-privs", Kind: ToggleFlag, Usage: "let setuid programs gain privileges"},
			},
			read: func(p *parser, s *Step, v value) {
				s.Security.AllowNewPrivileges = p.boolean(v)
				s.NoNewPrivileges = !s.Security.AllowNewPrivileges
			},
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Security.AllowNewPrivileges) },
		},
		{
			Name: "unmask", Class: Privilege, Fields: []string{"Security.Unmask"},
			Doc:    "Shows the step the files of /proc and /sys that are hidden from containers otherwise, and lets it write those that are read-only. Containers in a step need it for a /proc of their own.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "unmask", Kind: ToggleFlag, Usage: "show the files of /proc and /sys that are normally hidden; needed to run containers inside the command's container"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.Unmask = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Security.Unmask) },
		},
		{
			Name: "group_add", Class: Free, Fields: []string{"Security.Groups"},
			Doc:    "Supplementary groups on top of the user's own, by the image's /etc/group: names or numbers.",
			Schema: `{"anyOf": [{"$ref": "#/$defs/scalar"}, {"type": "array", "items": {"$ref": "#/$defs/scalar"}}]}`,
			Flags: []KeyFlag{
				{Name: "group-add", Kind: ListFlag, Usage: "add the user to a `GROUP`, by name in the image's /etc/group or by number"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.Groups = p.filled(v, p.group) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Security.Groups) },
		},
		{
			Name: "read_only", Class: Free, Fields: []string{"Security.ReadOnly"},
			Doc:    "Makes the root file system read-only.",
			Schema: `{"type": "boolean", "default": false}`,
			Flags: []KeyFlag{
				{Name: "read-only", Kind: ToggleFlag, Usage: "make the root file system read-only"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.ReadOnly = p.boolean(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asFlag(s.Security.ReadOnly) },
		},
		{
			Name: "cap_add", Class: Privilege, Fields: []string{"Security.CapAdd"},
			Doc:    "Capabilities on top of the usual ones, or ALL.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "cap-add", Kind: ListFlag, Usage: "add a `CAPABILITY`, or ALL"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.CapAdd = p.filled(v, p.capability) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Security.CapAdd) },
		},
		{
			Name: "cap_drop", Class: Free, Fields: []string{"Security.CapDrop"},
			Doc:    "Capabilities to take away, or ALL.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "cap-drop", Kind: ListFlag, Usage: "drop a `CAPABILITY`, or ALL"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.CapDrop = p.filled(v, p.capability) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Security.CapDrop) },
		},
		{
			Name: "seccomp", Class: Privilege, Fields: []string{"Security.Seccomp"},
			Doc:    "default, unconfined, or the path of a profile in docker's JSON form.",
			Schema: `{"$ref": "#/$defs/line", "default": "default"}`,
			Flags: []KeyFlag{
				{Name: "seccomp-profile", Kind: TextFlag, Usage: "seccomp `PROFILE`: default, unconfined, or a file in docker's format"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.Seccomp = p.line(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Security.Seccomp) },
		},
		{
			Name: "apparmor", Class: Privilege, Fields: []string{"Security.AppArmor"},
			Doc:    "Name of a loaded profile, or unconfined.",
			Schema: `{"type": "string", "pattern": "^[^\\s\\x00-\\x1f\\x7f]+$"}`,
			Flags: []KeyFlag{
				{Name: "apparmor", Kind: TextFlag, Usage: "AppArmor `PROFILE`, which must be loaded, or unconfined"},
				{Name: "apparmor-profile", Kind: TextFlag, Usage: "same as --apparmor `PROFILE`"},
				{Name: "apparmor-default-profile", Kind: TextFlag, Usage: "same as --apparmor `PROFILE`"},
			},
			read: func(p *parser, s *Step, v value) {
				s.Security.AppArmor = p.matching(v, imageForm(), "a profile's name has no spaces")
			},
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Security.AppArmor) },
		},
		{
			Name: "devices", Class: HostResource, Fields: []string{"Security.Devices", "Security.CDI"},
			Doc:    "Devices of the host as src[:dst][:rwm], or names of the Container Device Interface.",
			Schema: `{"$ref": "#/$defs/devices"}`,
			Flags: []KeyFlag{
				{Name: "device", Kind: ListFlag, Usage: "give access to `SRC[:DST][:rwm]`, a device node or a directory of them on the host, or to a CDI device by name"},
			},
			read:  func(p *parser, s *Step, v value) { p.devices(v, &s.Security) },
			write: func(_ *writer, s *Step) *yaml.Node { return devicesNode(&s.Security) },
		},
		{
			Name: "gpus", Class: HostResource, Fields: []string{"Security.CDI"},
			Doc:    "all, or GPUs by number, UUID or CDI name.",
			Schema: `{"$ref": "#/$defs/gpus"}`,
			Flags: []KeyFlag{
				{Name: "gpus", Kind: CommaFlag, Usage: "GPUs to give access to: `all`, or a comma-separated list of numbers or UUIDs"},
			},
			read: func(p *parser, s *Step, v value) { s.Security.CDI = append(s.Security.CDI, p.filled(v, p.gpu)...) },
		},
		{
			Name: "uidmap", Class: Privilege, Fields: []string{"Security.UIDMap"},
			Doc:    "User ids of a user namespace; uidmap and gidmap go together.",
			Schema: `{"$ref": "#/$defs/idMaps"}`,
			Flags: []KeyFlag{
				{Name: "uidmap", Kind: ListFlag, Usage: "map user IDs in a user namespace: `CONTAINER:HOST:SIZE`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.UIDMap = p.idMaps(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return tree.List(s.Security.UIDMap, idMapNode) },
		},
		{
			Name: "gidmap", Class: Privilege, Fields: []string{"Security.GIDMap"},
			Doc:    "Group ids of a user namespace; uidmap and gidmap go together.",
			Schema: `{"$ref": "#/$defs/idMaps"}`,
			Flags: []KeyFlag{
				{Name: "gidmap", Kind: ListFlag, Usage: "map group IDs in a user namespace: `CONTAINER:HOST:SIZE`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Security.GIDMap = p.idMaps(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return tree.List(s.Security.GIDMap, idMapNode) },
		},
	}
}
