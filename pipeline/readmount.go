package pipeline

import "fmt"

// mounts reads the list behind mounts or volumes, with read for each item.
func (p *parser) mounts(v value, read func(value) (Mount, error), taken map[string]value) []Mount {
	if v.kind != listKind {
		p.wrongType(v, "a list")
		return nil
	}
	var mounts []Mount
	for i := range v.items {
		item := v.item(i)
		before := len(p.errs)
		m, err := read(item)
		switch first, used := taken[m.Destination]; {
		case len(p.errs) > before:
		case err != nil:
			p.report(item, err)
		case used:
			p.wrong(item, fmt.Sprintf("%s is already mounted at line %d", m.Destination, first.line), "")
		default:
			taken[m.Destination] = item
			mounts = append(mounts, m)
		}
	}
	return mounts
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
	return m.checked()
}
