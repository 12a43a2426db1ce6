package drone

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/pipeline"
)

// fields says how the value of every key of a map is read. A key without a value is as
// one that is not there.
type fields map[string]func(pipeline.Node)

// object reads a map. Drone ignores keys that it does not know. Here one that looks like
// a slip of another is an error, since the step would be another than the one meant.
func (p *parser) object(n pipeline.Node, known fields, ignored ...string) {
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return
	}
	for _, e := range n.Entries() {
		read, found := known[e.Name]
		switch {
		case found && e.Kind() != "null":
			read(e.Node)
		case found:
		case slices.Contains(ignored, e.Name):
			p.warn(e.Node, "has no effect with Drone's runner for docker", "")
		default:
			p.unknown(e, slices.Sorted(maps.Keys(known)))
		}
	}
}

// unknownKey is the message about a slip of a key.
const unknownKey = "unknown key"

func (p *parser) unknown(e pipeline.Entry, known []string) {
	if hint := pipeline.DidYouMean(e.Name, known); hint != "" {
		p.Misplaced(e.Node, unknownKey, hint)
		return
	}
	p.warn(e.Node, "Drone ignores this key", "")
}

// texts reads a list of texts. A text alone is an error for Drone, too.
func (p *parser) texts(n pipeline.Node) []string {
	if n.Kind() != "list" {
		p.WrongType(n, "a list")
		return nil
	}
	texts := []string{}
	for _, item := range n.Items() {
		texts = append(texts, p.Text(item))
	}
	return texts
}

// either reads a text or a list of them.
func (p *parser) either(n pipeline.Node, read func(pipeline.Node) string) []string {
	if n.Kind() != "list" {
		return []string{read(n)}
	}
	var texts []string
	for _, item := range n.Items() {
		texts = append(texts, read(item))
	}
	return texts
}

// yaml11 are the words that YAML 1.1, which Drone reads, has for true and false.
var yaml11 = map[string]bool{
	"true": true, "yes": true, "on": true, "y": true,
	"false": false, "no": false, "off": false, "n": false,
}

func (p *parser) flag(n pipeline.Node) bool {
	value, found := yaml11[strings.ToLower(n.Raw())]
	if !found || n.Kind() != "boolean" && n.Kind() != "string" {
		p.WrongType(n, "true or false")
	}
	return value
}

// size reads bytes, or a text like 1g.
func (p *parser) size(n pipeline.Node) int64 {
	text := p.Text(n)
	if text == "" {
		return 0
	}
	bytes, err := units.RAMInBytes(text)
	if err != nil || bytes < 0 {
		p.Wrong(n, fmt.Sprintf("%q is not a size", text), "write it like 512m, 1g or a number of bytes")
		return 0
	}
	return bytes
}

// untrusted notes what only trusted repositories may do, in the runner's words.
func (p *parser) untrusted(n pipeline.Node, what string) {
	if p.o.Untrusted {
		p.Misplaced(n, "linter: untrusted repositories cannot "+what, "")
	}
}
