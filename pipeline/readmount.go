package pipeline

import (
	"fmt"
	"strings"
)

// mounts reads the list behind mounts or volumes, with read for each item.
func (p *parser) mounts(v value, read func(value) (Mount, error)) []Mount {
	if v.kind != listKind {
		p.wrongType(v, "a list")
		return nil
	}
	var mounts []Mount
	for i := range v.items {
		item := v.item(i)
		before := len(p.errs)
		m, err := read(item)
		switch first, used := p.mounted[m.Destination]; {
		case len(p.errs) > before:
		case err != nil:
			p.report(item, err)
		case used:
			p.wrong(item, m.Destination+" is already mounted"+atLine(first.line), "")
		default:
			p.mounted[m.Destination] = item
			mounts = append(mounts, m)
		}
	}
	return mounts
}

// tmpfs reads PATH[:options] as docker does. Its options, which every tmpfs has
// that is asked for in this form, keep programs and devices out.
func (p *parser) tmpfs(v value) (Mount, error) {
	text := p.word(v)
	if text == "" {
		return Mount{}, nil
	}
	destination, options, _ := strings.Cut(text, ":")
	m := Mount{Type: "tmpfs", Destination: destination, Options: []string{"nosuid", "nodev", "noexec"}}
	m.Options = append(m.Options, strings.FieldsFunc(options, func(r rune) bool { return r == ':' || r == ',' })...)
	return checkedMount(m)
}

func (p *parser) volume(v value) (Mount, error) { return ParseVolume(p.word(v)) }

// mount reads a mount as text or as a map.
func (p *parser) mount(v value) (Mount, error) {
	if v.kind != mapKind {
		if v.kind != textKind {
			p.wrongType(v, "a string or a map")
			return Mount{}, nil
		}
		return ParseMount(p.word(v))
	}
	var m Mount
	given := map[string]bool{}
	once := func(part string, into *string) func(value) {
		return func(v value) {
			if given[part] {
				p.misplaced(v, fmt.Sprintf("the %s is given twice", part), "remove one")
			}
			given[part] = true
			*into = p.word(v)
		}
	}
	p.object(v, fields{
		"type":        once("type", &m.Type),
		"source":      once("source", &m.Source),
		"src":         once("source", &m.Source),
		"destination": once("destination", &m.Destination),
		"dst":         once("destination", &m.Destination),
		"target":      once("destination", &m.Destination),
		"options": func(v value) {
			for _, text := range p.list(v, p.notEmpty) {
				m.Options = append(m.Options, splitOptions(text)...)
			}
		},
		"read_only": func(v value) {
			if p.boolean(v) {
				m.Options = append(m.Options, "ro")
			}
		},
		"create": func(v value) { m.Create = p.boolean(v) },
	})
	return checkedMount(m)
}

// atLine is empty for what a command line gives.
func atLine(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" at line %d", line)
}
