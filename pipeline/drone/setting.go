package drone

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// settings reads the parameters of a plugin. What has no value, and empty text, is not
// there for it.
func (p *parser) settings(n pipeline.Node) []pipeline.Setting {
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return nil
	}
	return p.settingsOf(n.Entries())
}

func (p *parser) settingsOf(entries []pipeline.Entry) []pipeline.Setting {
	var settings []pipeline.Setting
	for _, e := range entries {
		if e.Kind() == "null" || e.Kind() == "string" && e.Raw() == "" || e.Kind() == "list" && len(e.Items()) == 0 {
			continue
		}
		if strings.ContainsAny(e.Name, "=\x00") || e.Name == "" {
			p.Misplaced(e.Node, fmt.Sprintf("%q is not the name of a variable", e.Name), "")
			continue
		}
		s := p.setting(e.Node)
		s.Name = e.Name
		settings = append(settings, s)
	}
	return settings
}

func (p *parser) setting(n pipeline.Node) pipeline.Setting {
	s := p.Setting(n, func(n pipeline.Node) (string, bool) { return plain(n.Kind(), p.Text(n), n.Plain()) })
	if p.literalSecrets(s.List) || p.literalSecrets(s.Map) {
		tell := p.warn
		if p.o.Raw { // other files take it for a secret
			tell = p.Wrong
		}
		tell(n, "Drone puts no secret inside of a list or a map: the plugin gets the text from_secret", "give the secret a setting of its own")
	}
	return s
}

// literalSecrets makes the secrets in parts of a setting into what Drone hands on there: the map
// with the name of the secret.
func (p *parser) literalSecrets(parts []pipeline.Setting) (found bool) {
	for i := range parts {
		s := &parts[i]
		if name := s.Value.FromSecret; name != "" {
			s.Value.FromSecret, found = "", true
			s.Map = []pipeline.Setting{{Position: s.Position, Name: "from_secret", Value: pipeline.Value{Text: name}}}
			continue
		}
		inList, inMap := p.literalSecrets(s.List), p.literalSecrets(s.Map)
		found = found || inList || inMap
	}
	return found
}

// plain is a scalar as plugins get it, and whether JSON has it without quotes. Numbers of
// YAML's other bases become decimal; decimals stay as they are written, where Drone makes
// 1.10 into 1.1.
func plain(kind, text string, bare bool) (string, bool) {
	word, isWord := yaml11[strings.ToLower(text)]
	switch {
	case isWord && len(text) > 1 && (bare || kind == "boolean"):
		return strconv.FormatBool(word), true
	case kind == "number":
		if n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64); err == nil {
			return strconv.FormatInt(n, 10), true
		}
		return text, json.Valid([]byte(text))
	}
	return text, false
}

// environment reads a map from names to texts or secrets. Empty ones are left out, as
// Drone does: the image's own value stays.
func (p *parser) environment(n pipeline.Node) []pipeline.Variable {
	if n.Kind() != "map" {
		p.Wrong(n, "must be a map, not a "+n.Kind(), "write NAME: value, not - NAME=value")
		return nil
	}
	var variables []pipeline.Variable
	for _, e := range n.Entries() {
		v := pipeline.Variable{Position: e.Position(), Name: e.Name}
		switch e.Kind() {
		case "null":
			continue
		case "map":
			secret, given := e.Get("from_secret")
			if !given {
				p.Missing(e.Node, "from_secret")
				continue
			}
			v.Value.FromSecret = p.Text(secret)
		default:
			if v.Value.Text = p.Text(e.Node); v.Value.Text == "" {
				continue
			}
		}
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
			p.Misplaced(e.Node, fmt.Sprintf("%q is not the name of a variable", e.Name), "")
			continue
		}
		variables = append(variables, v)
	}
	return variables
}
