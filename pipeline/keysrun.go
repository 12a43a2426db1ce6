package pipeline

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// runKeys are the keys of what a step runs, in what image, and on which files.
func runKeys() []Key {
	return []Key{
		{
			Name: "image", Class: HostResource, Fields: []string{"Image"},
			Doc:        "Image reference, or oci:DIR, oci-archive:FILE, dir:DIR, docker-archive:FILE, rootfs:DIR, docker-daemon:NAME, containers-storage:NAME.",
			Schema:     `{"type": "string", "pattern": "^[^\\s\\x00-\\x1f\\x7f]+$"}`,
			BesideSpec: true,
			read: func(p *parser, s *Step, v value) {
				s.Image = p.matching(v, imageForm(), "an image reference has no spaces")
			},
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Image) },
		},
		{
			Name: "platform", Class: Free, Fields: []string{"Platform"},
			Doc:    "Platform of the image, like linux/arm64.",
			Schema: `{"type": "string", "pattern": "^[a-z0-9]+/[a-z0-9_]+(/v[0-9]+)?$"}`,
			read: func(p *parser, s *Step, v value) {
				s.Platform = p.matching(v, platformForm(), "write it like linux/amd64 or linux/arm/v7")
			},
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Platform) },
		},
		{
			Name: "pull", Class: HostResource, Fields: []string{"Pull"},
			Doc:        "When to ask the registry for the image.",
			Schema:     `{"enum": ["always", "missing", "never"], "default": "missing"}`,
			BesideSpec: true,
			Flags: []KeyFlag{
				{Name: "pull", Kind: TextFlag, Usage: "`when` to pull the image: always, missing or never"},
			},
			read:  func(p *parser, s *Step, v value) { s.Pull = PullPolicy(p.oneOf(v, "always", "missing", "never")) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(string(s.Pull)) },
		},
		{
			Name: "commands", Class: Free, Fields: []string{"Script"},
			Doc:    "Commands, run as one script.",
			Schema: `{"$ref": "#/$defs/commands"}`,
			read:   func(p *parser, s *Step, v value) { s.Commands = p.filled(v, p.command) },
			write:  func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Commands) },
		},
		{
			Name: "shell", Class: Free, Fields: []string{"Shell"},
			Doc:    "Program that runs the commands: a name, which gets -e when it is a POSIX shell, or an argv taken as it is.",
			Schema: `{"$ref": "#/$defs/shell", "default": "/bin/sh"}`,
			read:   func(p *parser, s *Step, v value) { s.Shell = p.shell(v) },
			write:  func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Shell) },
		},
		{
			Name: "entrypoint", Class: Free, Fields: []string{"Entrypoint"},
			Doc:    "In place of the image's entrypoint.",
			Schema: `{"$ref": "#/$defs/entrypoint"}`,
			read:   func(p *parser, s *Step, v value) { s.Entrypoint = p.filled(v, p.scalar) },
			write:  func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Entrypoint) },
		},
		{
			Name: "args", Class: Free, Fields: []string{"Args"},
			Doc:    "In place of the image's command.",
			Schema: `{"anyOf": [{"$ref": "#/$defs/scalar"}, {"type": "array", "items": {"$ref": "#/$defs/scalar"}}]}`,
			read:   func(p *parser, s *Step, v value) { s.Args = p.list(v, p.scalar) },
			write:  func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Args) },
		},
		{
			Name: "environment", Class: HostResource, Fields: []string{"Env", "FromRun", "SecretEnv", "Authored"},
			Doc:    "Variables.",
			Schema: `{"$ref": "#/$defs/environment"}`,
			read:   func(p *parser, s *Step, v value) { s.Environment = p.environment(v) },
			write:  func(_ *writer, s *Step) *yaml.Node { return environmentNode(s.Environment) },
		},
		{
			Name: "env_file", Class: HostPath, Fields: []string{"Env"},
			Doc:    "Files of NAME=value lines.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			read:   func(p *parser, s *Step, v value) { s.EnvFiles, s.envFilesAt = p.filled(v, p.word), v.position() },
			write:  func(_ *writer, s *Step) *yaml.Node { return asTexts(s.EnvFiles) },
		},
		{
			Name: "secrets", Class: Free, Fields: []string{"SecretFiles", "Env"},
			Doc:    "Secrets as files below /run/secrets, or as variables.",
			Schema: `{"type": "array", "items": {"$ref": "#/$defs/secret"}}`,
			read:   func(p *parser, s *Step, v value) { s.Secrets = p.secrets(v) },
			write:  func(_ *writer, s *Step) *yaml.Node { return tree.List(s.Secrets, secretNode) },
		},
		{
			Name: "settings", Class: Free, Fields: []string{"Env"},
			Doc:    "Parameters of a plugin, which finds them as PLUGIN_ variables.",
			Schema: `{"$ref": "#/$defs/settings"}`,
			read:   func(p *parser, s *Step, v value) { s.Settings = p.settings(v) },
			write:  func(_ *writer, s *Step) *yaml.Node { return settingsNode(s.Settings) },
		},
		{
			Name: "directory", Class: Free, Fields: []string{"Directory"},
			Doc:    "Working directory; a relative one is below the workspace.",
			Schema: `{"$ref": "#/$defs/text", "not": {"pattern": "^/+proc(/|$)"}}`,
			Flags: []KeyFlag{
				{Name: "cwd", Kind: TextFlag, Usage: "working `directory`; created if it does not exist"},
				{Name: "workdir", Short: "w", Kind: TextFlag, Usage: "same as --cwd `directory`"},
			},
			read:  func(p *parser, s *Step, v value) { s.Directory = p.directory(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Directory) },
		},
		{
			Name: "user", Class: Free, Fields: []string{"User"},
			Doc:    "Name or uid, and after a colon group or gid.",
			Schema: `{"$ref": "#/$defs/user"}`,
			Flags: []KeyFlag{
				{Name: "user", Short: "u", Kind: TextFlag, Usage: "run as `USER[:GROUP]`, by name or number (default: as the image says)"},
			},
			read:  func(p *parser, s *Step, v value) { s.User = p.user(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.User) },
		},
		{
			Name: "mounts", Class: HostPath, Fields: []string{"Mounts"},
			Doc:    "Bind mounts and tmpfs.",
			Schema: `{"type": "array", "items": {"$ref": "#/$defs/mount"}}`,
			Flags: []KeyFlag{
				{Name: "mount", Kind: ListFlag, Usage: "add a mount, such as `type=bind,src=PATH,dst=PATH,options=rbind:ro`; the types are bind, tmpfs and volume"},
			},
			read:  func(p *parser, s *Step, v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.mount)...) },
			write: func(_ *writer, s *Step) *yaml.Node { return mountsNode(s.Mounts) },
		},
		{
			Name: "volumes", Class: HostPath, Fields: []string{"Mounts"},
			Doc:    "Bind mounts as src:dst or src:dst:options, such as ro; dst alone is a volume of the step's own.",
			Schema: `{"type": "array", "items": {"type": "string", "pattern": "^([^:]+:)?/[^:]*(:(r[ow]|r?(shared|slave|private)|no(suid|dev|exec|copy)|[zZ]|cached|delegated|consistent)(,(r[ow]|r?(shared|slave|private)|no(suid|dev|exec|copy)|[zZ]|cached|delegated|consistent))*)?$"}}`,
			Flags: []KeyFlag{
				{Name: "volume", Short: "v", Kind: ListFlag, Usage: "bind mount `SRC:DST[:ro]`; NAME:DST is a named volume that is kept, and DST alone a volume that lasts as long as the step"},
			},
			read: func(p *parser, s *Step, v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.volume)...) },
		},
		{
			Name: "tmpfs", Class: Limit, Fields: []string{"Mounts"},
			Doc:    "Empty memory as PATH or PATH:options, with nosuid, nodev and noexec.",
			Schema: `{"type": "array", "items": {"type": "string", "pattern": "^/+[^/:]"}}`,
			Flags: []KeyFlag{
				{Name: "tmpfs", Kind: ListFlag, Usage: "mount an empty file system in memory at `PATH[:OPTIONS]`"},
			},
			read: func(p *parser, s *Step, v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.tmpfs)...) },
		},
		{
			Name: "cache", Class: HostPath, Fields: []string{"Mounts", "Caches"},
			Doc:    "Folders that survive runs, as NAME:PATH, NAME:PATH:ro, NAME:PATH:fill or a map; with a key, saved and restored by it.",
			Schema: `{"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/cache"}, {"$ref": "#/$defs/keyedCache"}]}}`,
			read: func(p *parser, s *Step, v value) {
				s.Mounts = append(s.Mounts, p.mounts(v, func(v value) (Mount, error) { return p.anyCache(s, v) })...)
			},
			write: func(_ *writer, s *Step) *yaml.Node { return cachesNode(s) },
		},
		{
			Name: "network", Class: HostResource, Fields: []string{"Network"},
			Doc:    "The host's network, loopback only, or a network of the pipeline's own.",
			Schema: `{"enum": ["host", "none", "private"], "default": "host"}`,
			Flags: []KeyFlag{
				{Name: "network", Kind: TextFlag, Usage: "`NETWORK` to use: host, none or private (default: host)"},
			},
			read:  func(p *parser, s *Step, v value) { s.Network = p.oneOf(v, "host", "none", "private") },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Network) },
		},
	}
}
