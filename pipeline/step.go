package pipeline

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
		if service || s.Detach {
			p.cachesBeside(v, s)
		}
	}
	return *s
}

// stepFields says how to read every key of a step but its name.
func (p *parser) stepFields(s *Step) fields {
	p.mounted = map[string]value{}
	known := fields{}
	for _, key := range Keys() {
		known[key.Name] = func(v value) {
			if s.places == nil {
				s.places = map[string]Position{}
			}
			s.places[key.Name] = v.position()
			key.read(p, s, v)
		}
	}
	return known
}

// refuseInService replaces the keys that have no meaning for a service.
func (p *parser) refuseInService(known fields) {
	for _, key := range Keys() {
		if key.OfSteps {
			known[key.Name] = func(v value) {
				p.misplaced(v, "is not allowed in a service", "services start before the steps and run until the last one ends")
			}
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
	for _, key := range []string{"timeout", "ends_run", "retry", "artifacts", "reports"} {
		if other, given := v.get(key); given && s.Detach {
			p.misplaced(other, "cannot be combined with detach", "a detached step runs until the other steps have ended")
		}
	}
	p.artifactNames(v, s)
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

var platformForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/v[0-9]+)?$`) })

var imageForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^\s\x00-\x1f\x7f]+$`) })

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

// maxID is the largest id of a user or group; the kernel takes the next one for none (setresuid(2)).
const maxID = 1<<32 - 2

var userForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^\s:\x00-\x1f\x7f]+(:[^\s:\x00-\x1f\x7f]+)?$`) })

func (p *parser) user(v value) string {
	text := p.notEmpty(v)
	if text != "" && !userForm().MatchString(text) {
		p.wrong(v, fmt.Sprintf("%q is not valid", text), "write a name or a uid, and after a colon a group or a gid")
		return ""
	}
	for part := range strings.SplitSeq(text, ":") {
		if id, err := strconv.ParseInt(part, 10, 64); (err == nil || errors.Is(err, strconv.ErrRange)) && (id < 0 || id > maxID) {
			p.wrong(v, fmt.Sprintf("%q is not valid", text), fmt.Sprintf("a number must be from 0 to %d", int64(maxID)))
			return ""
		}
	}
	return text
}

var groupForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^\s:,\x00-\x1f\x7f]+$`) })

func (p *parser) group(v value) string {
	text := p.scalar(v)
	if v.scalar() && !groupForm().MatchString(text) {
		p.wrong(v, fmt.Sprintf("%q is not a group", text), "write the name of a group or a gid")
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
	taken := map[string]bool{}
	for _, entry := range entries {
		if name := p.word(entry); name != "" && !taken[name] {
			taken[name] = true
			names = append(names, name)
			p.depends[len(p.depends)-1] = append(p.depends[len(p.depends)-1], entry)
		}
	}
	return names
}
