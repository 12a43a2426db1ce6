package pipeline

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Types of mounts whose source is a name in place of a path.
const (
	MountVolume = "volume" // a folder that the steps of one run share; without a name it is the step's own, and begins with what the image has there
	MountCache  = "cache"  // a folder that survives runs
	MountKeyed  = "keyed"  // a folder of the step's own that is saved and restored by a key
)

// WorkspaceVolume is the name of the volume that is the workspace of a run with a folder
// of its own. No file can name a volume so.
const WorkspaceVolume = ".workspace"

var (
	volumeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`) })
	volumeRule = "letters, digits and any of _ . -, at most 100, with a letter or digit first"
)

func isVolumeName(text string) bool { return len(text) <= maxName && volumeForm().MatchString(text) }

// IsVolumeName reports whether a text is the name of a volume, and not a path.
func IsVolumeName(text string) bool { return isVolumeName(text) }

func (p *parser) volumeName(v value) string {
	text := p.word(v)
	if text != "" && !isVolumeName(text) {
		p.wrong(v, fmt.Sprintf("%q is not valid", text), volumeRule)
		return ""
	}
	return text
}

// volumeNames reads the list of the pipeline's volumes: names, or maps with a name.
func (p *parser) volumeNames(v value) []string {
	if v.kind != listKind {
		p.wrongType(v, "a list")
		return nil
	}
	var names []string
	taken := map[string]bool{}
	for i := range v.items {
		item, name := v.item(i), ""
		if item.kind == mapKind {
			p.object(item, fields{"name": func(v value) { name = p.volumeName(v) }})
			if _, given := item.get("name"); !given {
				p.missing(item, "name")
			}
		} else {
			name = p.volumeName(item)
		}
		if taken[name] && name != "" {
			p.wrong(item, fmt.Sprintf("the volume %q is listed twice", name), "")
		}
		taken[name] = true
		names = append(names, name)
	}
	return names
}

// cacheModes are the options behind NAME:PATH of a cache.
var cacheModes = []string{"ro", "fill"}

// setCacheModes reads the options behind NAME:PATH of a cache, divided by commas.
func setCacheModes(m *Mount, text string) error {
	for mode := range strings.SplitSeq(text, ",") {
		switch mode {
		case "ro":
			m.Options[1] = "ro"
		case "fill":
			m.Fill = true
		default:
			return &Error{Message: fmt.Sprintf("%q is not an option of a cache", mode), Hint: "there are " + quotedList(cacheModes)}
		}
	}
	return nil
}

// cache reads NAME:PATH, NAME:PATH:OPTIONS, or a map with name, path and fill.
func (p *parser) cache(v value) (Mount, error) {
	m := Mount{Type: MountCache, Options: []string{"rbind", "rw", "nosuid", "nodev"}}
	switch v.kind {
	case mapKind:
		p.object(v, fields{
			"name": func(v value) { m.Source = p.volumeName(v) },
			"path": func(v value) { m.Destination = p.word(v) },
			"fill": func(v value) { m.Fill = p.boolean(v) },
		})
		for _, key := range []string{"name", "path"} {
			if _, given := v.get(key); !given {
				p.missing(v, key)
			}
		}
		if m.Source == "" || m.Destination == "" {
			return Mount{}, nil // reported
		}
	default:
		text, given := p.word(v), false
		if text == "" {
			return Mount{}, nil
		}
		if m.Source, m.Destination, given = strings.Cut(text, ":"); !given || !isVolumeName(m.Source) {
			return Mount{}, &Error{Message: fmt.Sprintf("%q is not a cache", text), Hint: "write it like go-mod:/go/pkg/mod; a name has " + volumeRule}
		}
		if destination, modes, given := strings.Cut(m.Destination, ":"); given {
			m.Destination = destination
			if err := setCacheModes(&m, modes); err != nil {
				return Mount{}, err
			}
		}
	}
	if err := checkFolderDestination(m.Destination); err != nil {
		return Mount{}, err
	}
	m.Destination = path.Clean(m.Destination)
	return m, nil
}

// named makes the mount of a volume out of one whose source is the name of a volume.
func (pl *planner) named(m Mount) Mount {
	if m.Type == "bind" && slices.Contains(pl.pipeline.Volumes, m.Source) {
		m.Type, m.Create = MountVolume, false
	}
	return m
}
