package pipeline

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/docker/go-units"
	"go.yaml.in/yaml/v3"
)

// Artifact is a set of files in the workspace that is collected when a step has ended.
type Artifact struct {
	Name     string       // of its folder; the parser fills in the step's name
	Paths    []string     // patterns of doublestar, relative to the workspace; one with ! in front excludes
	When     ArtifactWhen // "" is ArtifactOnSuccess
	Required bool         // the step fails if nothing matches
	MaxSize  int64        // bytes of all its files; 0: the default
}

// ArtifactWhen says after which ends of a step an artifact is collected.
type ArtifactWhen string

// The ends. The empty one means ArtifactOnSuccess.
const (
	ArtifactOnSuccess ArtifactWhen = "success"
	ArtifactOnFailure ArtifactWhen = "failure"
	ArtifactAlways    ArtifactWhen = "always"
)

// IsDue reports whether the artifact is collected of a step that ended so.
func (a *Artifact) IsDue(succeeded bool) bool {
	switch a.When {
	case ArtifactAlways:
		return true
	case ArtifactOnFailure:
		return !succeeded
	}
	return succeeded
}

// artifacts reads one artifact or a list of them.
func (p *parser) artifacts(v value) []Artifact {
	var all []Artifact
	for _, entry := range p.entries(v) {
		all = append(all, p.artifact(entry))
	}
	return all
}

func (p *parser) artifact(v value) Artifact {
	var a Artifact
	if v.kind == textKind { // as other systems write it
		p.wrong(v, "must be a map, not "+article(v.kind), "write artifacts: {paths: [PATH]}")
		return a
	}
	p.object(v, fields{
		"name":  func(v value) { a.Name = p.artifactName(v) },
		"paths": func(v value) { a.Paths = p.artifactPaths(v) },
		"when": func(v value) {
			a.When = ArtifactWhen(p.oneOf(v, string(ArtifactAlways), string(ArtifactOnSuccess), string(ArtifactOnFailure)))
		},
		"if_missing": func(v value) { a.Required = p.oneOf(v, "warn", "error") == "error" },
		"max_size":   func(v value) { a.MaxSize = p.artifactSize(v) },
	})
	if v.kind == mapKind {
		if _, given := v.get("paths"); !given {
			p.missing(v, "paths")
		}
	}
	return a
}

func (p *parser) artifactName(v value) string {
	text := p.word(v)
	if text != "" && (len(text) > maxName || !stepName().MatchString(text)) {
		p.wrong(v, fmt.Sprintf("%q is not valid", text), "it is the name of a folder: letters, digits, spaces and any of _ . -, at most 100, with a letter or digit first")
		return ""
	}
	return text
}

// artifactPaths reads patterns, at least one of which takes something.
func (p *parser) artifactPaths(v value) []string {
	takes := false
	paths := p.filled(v, func(v value) string {
		text := p.line(v)
		pattern, excluded := strings.CutPrefix(text, "!")
		takes = takes || !excluded
		switch {
		case text == "":
			return ""
		case strings.Trim(pattern, "/") == "":
			p.wrong(v, fmt.Sprintf("%q names nothing", text), "write . for the whole workspace")
		case path.IsAbs(pattern) || slices.Contains(strings.Split(pattern, "/"), ".."):
			p.wrong(v, fmt.Sprintf("%q leads out of the workspace", text), "write a path relative to the workspace, without ..")
		case !doublestar.ValidatePattern(pattern):
			p.wrong(v, fmt.Sprintf("%q is not a valid pattern", text), "")
		default:
			p.affordable(v, pattern)
		}
		return text
	})
	if !takes && len(paths) > 0 {
		p.wrong(v, "excludes files only", "add a path without ! in front")
	}
	return paths
}

func (p *parser) artifactSize(v value) int64 {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a size")
		return 0
	}
	bytes, err := units.RAMInBytes(v.text)
	if err != nil || !memoryForm().MatchString(v.text) {
		p.wrong(v, fmt.Sprintf("%q is not a size", v.text), "write it like 100MiB, 1g or a number of bytes")
		return 0
	}
	if bytes < 1 || bytes > 1<<60 {
		p.wrong(v, fmt.Sprintf("%q is out of range", v.text), "")
		return 0
	}
	return bytes
}

// artifactNames gives artifacts without a name that of their step. No two in a file may share
// one: the second would be in the first one's place.
func (p *parser) artifactNames(v value, s *Step) {
	given, has := v.get("artifacts")
	if !has {
		return
	}
	entries := []value{given}
	if given.kind == listKind {
		entries = nil
		for i := range given.items {
			entries = append(entries, given.item(i))
		}
	}
	for i := range s.Artifacts {
		a := &s.Artifacts[i]
		if a.Name == "" {
			a.Name = s.Name
		}
		if first, taken := p.artifactAt[a.Name]; taken && a.Name != "" {
			p.wrong(entries[i], fmt.Sprintf("there is already an artifact named %q%s", a.Name, atLine(first.line)), "give it another name")
			continue
		}
		p.artifactAt[a.Name] = entries[i]
	}
}

func artifactNode(a *Artifact) *yaml.Node {
	m := newMapping()
	m.text("name", a.Name)
	m.texts("paths", a.Paths)
	m.text("when", string(a.When))
	if a.Required {
		m.text("if_missing", "error")
	}
	m.number("max_size", a.MaxSize)
	return m.Node
}
