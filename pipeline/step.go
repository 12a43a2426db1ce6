package pipeline

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// step reads a step or a service. The name is "" when it stands inside the map.
func (p *parser) step(v value, name string, service bool) Step {
	s := &Step{Position: v.position(), Name: name}
	known := p.stepFields(s)
	if service {
		p.refuseInService(known)
	}
	if name != "" {
		p.name(v, name, service)
		known["name"] = func(v value) { p.misplaced(v, "the step has its name already, from the key above", "remove it") }
	} else {
		known["name"] = func(v value) {
			if s.Name = p.word(v); s.Name != "" {
				p.name(v, s.Name, service)
			}
		}
	}
	p.object(v, known)
	if v.kind == mapKind {
		p.together(v, s)
		p.readyTogether(v, s, service)
	}
	return *s
}

// stepFields says how to read every key of a step but its name.
func (p *parser) stepFields(s *Step) fields {
	taken := map[string]value{} // destinations of mounts
	known := fields{
		"image": func(v value) { s.Image = p.matching(v, imageForm, "an image reference has no spaces") },
		"platform": func(v value) {
			s.Platform = p.matching(v, platformForm, "write it like linux/amd64 or linux/arm/v7")
		},
		"pull":        func(v value) { s.Pull = PullPolicy(p.oneOf(v, "always", "missing", "never")) },
		"commands":    func(v value) { s.Commands = p.filled(v, p.command) },
		"shell":       func(v value) { s.Shell = p.shell(v) },
		"entrypoint":  func(v value) { s.Entrypoint = p.filled(v, p.scalar) },
		"args":        func(v value) { s.Args = p.list(v, p.scalar) },
		"environment": func(v value) { s.Environment = p.environment(v) },
		"env_file":    func(v value) { s.EnvFiles, s.envFilesAt = p.filled(v, p.word), v.position() },
		"secrets":     func(v value) { s.Secrets = p.secrets(v) },
		"settings":    func(v value) { s.Settings = p.settings(v) },
		"directory":   func(v value) { s.Directory = p.directory(v) },
		"user":        func(v value) { s.User = p.user(v) },
		"mounts":      func(v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.mount, taken)...) },
		"volumes":     func(v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.volume, taken)...) },
		"tmpfs":       func(v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.tmpfs, taken)...) },
		"cache":       func(v value) { s.Mounts = append(s.Mounts, p.mounts(v, p.cache, taken)...) },
		"network":     func(v value) { s.Network = p.oneOf(v, "host", "none", "private") },
		"depends_on":  func(v value) { s.DependsOn = p.dependsOn(v) },
		"keep":        func(v value) { s.Keep = p.boolean(v) },
		"detach":      func(v value) { s.Detach = p.boolean(v) },
		"failure":     func(v value) { s.Failure = FailurePolicy(p.oneOf(v, "fail", "ignore", "cancel")) },
		"ends_run":    func(v value) { s.EndsRun = p.exitCodes(v) },
		"when":        func(v value) { s.When = p.when(v) },
		"retry":       func(v value) { s.Retry = p.retry(v) },
		"timeout":     func(v value) { s.Timeout = p.duration(v) },
		"ready":       func(v value) { s.Ready = p.ready(v) },
	}
	for _, more := range []fields{
		p.nameFields(&s.Names), p.limitFields(&s.Limits), p.securityFields(&s.Security), p.advancedFields(s),
	} {
		maps.Copy(known, more)
	}
	return known
}

// refuseInService replaces the keys that have no meaning for a service.
func (p *parser) refuseInService(known fields) {
	for _, key := range []string{"depends_on", "when", "failure", "ends_run", "detach", "retry"} {
		known[key] = func(v value) {
			p.misplaced(v, "is not allowed in a service", "services start before the steps and run until the last one ends")
		}
	}
}

// together checks what only shows with all keys of a step at hand.
func (p *parser) together(v value, s *Step) {
	if s.Name == "" {
		if _, given := v.get("name"); !given {
			p.missing(v, "name")
		}
	}
	if _, given := v.get("image"); !given {
		p.missing(v, "image")
	}
	if _, given := v.get("commands"); given {
		for _, key := range []string{"entrypoint", "args"} {
			if other, given := v.get(key); given {
				p.misplaced(other, "cannot be combined with commands",
					"commands are a script that the shell runs in place of the image's entrypoint; remove one of the two")
			}
		}
	} else if shell, given := v.get("shell"); given {
		p.misplaced(shell, "needs commands", "it is the shell that runs them")
	}
	for _, key := range []string{"timeout", "failure", "ends_run", "retry"} {
		if other, given := v.get(key); given && s.Detach {
			p.misplaced(other, "cannot be combined with detach", "a detached step runs until the other steps have ended, and how it ends fails nothing")
		}
	}
	p.setTwice(s)
	p.limitsTogether(v, &s.Limits)
	p.portsTogether(v, s)
	p.mapsTogether(v)
	p.advancedTogether(v, s)
}

// exitCodes reads one, or a list, of those that are not 0.
func (p *parser) exitCodes(v value) []int {
	var codes []int
	for _, entry := range p.entries(v) {
		codes = append(codes, int(p.whole(entry, 1, 255)))
	}
	return codes
}

var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/v[0-9]+)?$`)

var imageForm = regexp.MustCompile(`^[^\s\x00-\x1f\x7f]+$`)

func (p *parser) command(v value) string {
	switch {
	case v.kind == mapKind:
		p.wrong(v, "must be a string, not a map", "a colon before a space makes it one; put the command in quotes")
		return ""
	case v.scalar() && strings.TrimSpace(v.text) == "":
		p.wrong(v, "must not be empty", "write a command or remove it")
	}
	return p.scalar(v)
}

// shell reads a bare name, which gets its options from us, or an argv, which is
// taken as it is.
func (p *parser) shell(v value) []string {
	if v.kind == listKind {
		return p.filled(v, p.notEmpty)
	}
	name := p.word(v)
	if strings.ContainsAny(name, " \t\r\n") {
		p.wrong(v, fmt.Sprintf("%q is not the name of one program", name), `write options as a list, like ["bash", "-eu"]`)
		return nil
	}
	return withOptions(name)
}

func (p *parser) directory(v value) string {
	text := p.word(v)
	switch clean := path.Clean(text); {
	case text == "":
		return ""
	case !path.IsAbs(text) && (clean == ".." || strings.HasPrefix(clean, "../")):
		p.wrong(v, "a relative directory must stay below the workspace", "write an absolute path to leave it")
	case isBelow(clean, "/proc"):
		// CVE-2024-21626: /proc/self/fd/N as working directory is a way out to
		// the host through a descriptor that a runtime forgot to close.
		p.wrong(v, "must not be under /proc", "")
	default:
		return clean
	}
	return ""
}

var userForm = regexp.MustCompile(`^[^\s:\x00-\x1f\x7f]+(:[^\s:\x00-\x1f\x7f]+)?$`)

func (p *parser) user(v value) string {
	text := p.notEmpty(v)
	if text != "" && !userForm.MatchString(text) {
		p.wrong(v, fmt.Sprintf("%q is not valid", text), "write a name or a uid, and after a colon a group or a gid")
		return ""
	}
	return text
}

func (p *parser) dependsOn(v value) []string {
	entries := []value{v}
	if v.kind == listKind {
		entries = make([]value, len(v.items))
		for i := range v.items {
			entries[i] = v.item(i)
		}
	}
	names := []string{} // not nil: an empty list means no dependency
	for _, entry := range entries {
		if name := p.word(entry); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
			p.depends[len(p.depends)-1] = append(p.depends[len(p.depends)-1], entry)
		}
	}
	return names
}
