package woodpecker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// fields says how the value of every key of a map is read. A key without a value is as
// one that is not there.
type fields map[string]func(pipeline.Node)

// object reads a map. Woodpecker warns of keys that it does not know, and goes on. Here one
// that looks like a slip of another is an error: the step would not be the one meant.
func (p *parser) object(n pipeline.Node, known fields) {
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
		default:
			if hint := pipeline.DidYouMean(e.Name, slices.Sorted(maps.Keys(known))); hint != "" {
				p.Misplaced(e.Node, "unknown key", hint)
				continue
			}
			p.warn(e.Node, "Woodpecker ignores this key", "")
		}
	}
}

func (p *parser) warn(n pipeline.Node, message, hint string) {
	if p.quiet {
		return
	}
	at := n.Position()
	p.set.Warnings = append(p.set.Warnings, &pipeline.Error{File: p.file, Line: at.Line, Column: at.Column, Key: at.Key, Message: message, Hint: hint})
}

// texts reads a text, or a list of them. Numbers count as texts.
func (p *parser) texts(n pipeline.Node) []string { return p.each(n, p.Text) }

// strict returns a function that reads items of a list for which Woodpecker takes texts alone: a file
// with a number or true among them runs nothing there.
func (p *parser) strict(list pipeline.Node, read func(pipeline.Node) string) func(pipeline.Node) string {
	return func(n pipeline.Node) string {
		if kind := n.Kind(); list.Kind() == "list" && (kind == "number" || kind == "boolean") {
			p.Wrong(n, "must be a text: Woodpecker refuses the "+kind+" "+n.Raw()+" in a list", "put it in quotes")
		}
		return read(n)
	}
}

// strictTexts reads a text, or a list of nothing else.
func (p *parser) strictTexts(n pipeline.Node) []string { return p.each(n, p.strict(n, p.Text)) }

// patterns reads a pattern, or a list of them.
func (p *parser) patterns(n pipeline.Node) []string { return p.each(n, p.strict(n, p.Pattern)) }

func (p *parser) each(n pipeline.Node, read func(pipeline.Node) string) []string {
	if n.Kind() != "list" {
		return []string{read(n)}
	}
	var texts []string
	for _, item := range n.Items() {
		texts = append(texts, read(item))
	}
	return texts
}

func (p *parser) flag(n pipeline.Node) bool {
	if n.Kind() != "boolean" {
		p.WrongType(n, "true or false")
	}
	return strings.EqualFold(n.Raw(), "true")
}

// environment reads a map. Lists of scalars are joined by commas, everything deeper becomes
// JSON.
func (p *parser) environment(n pipeline.Node) []pipeline.Variable {
	if n.Kind() != "map" {
		p.Wrong(n, "must be a map, not a "+n.Kind(), "write NAME: value, not - NAME=value")
		return nil
	}
	var variables []pipeline.Variable
	for _, e := range n.Entries() {
		if !p.isVariable(e) {
			continue
		}
		v := pipeline.Variable{Position: e.Position(), Name: e.Name}
		s := p.setting(e.Node)
		switch {
		case s.List == nil && s.Map == nil:
			v.Value = s.Value
		default:
			v.Value.Text = p.joined(e.Node, s)
		}
		variables = append(variables, v)
	}
	return variables
}

// isVariable reports whether an entry sets a variable; null sets none.
func (p *parser) isVariable(e pipeline.Entry) bool {
	if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
		p.Misplaced(e.Node, fmt.Sprintf("%q is not the name of a variable", e.Name), "")
		return false
	}
	return e.Kind() != "null"
}

// settings reads the parameters of a plugin, under the names of their variables.
func (p *parser) settings(n pipeline.Node) []pipeline.Setting {
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return nil
	}
	var settings []pipeline.Setting
	for _, e := range n.Entries() {
		if !p.isVariable(e) {
			continue
		}
		s := p.setting(e.Node)
		s.Name = strings.ReplaceAll(e.Name, ".", "_")
		if s.List != nil && hasSecret(s) {
			s.JSON = true
			isJoined := !slices.ContainsFunc(s.List, func(item pipeline.Setting) bool { return item.List != nil || item.Map != nil })
			if p.o.Raw && isJoined { // a list with deeper values is JSON everywhere
				p.Wrong(e.Node, "the plugin gets this list as JSON, because a secret is in it, and a native file joins it by commas", "give the secret a setting of its own")
			}
		}
		settings = append(settings, s)
	}
	return settings
}

func (p *parser) setting(n pipeline.Node) pipeline.Setting {
	return p.Setting(n, func(n pipeline.Node) (string, bool) { return plain(n.Kind(), p.Text(n)) })
}

// plain is a scalar as steps get it, and whether JSON has it without quotes. Numbers of other
// bases become decimal; decimals stay as they are written, where Woodpecker makes 1.10 into 1.1.
func plain(kind, text string) (string, bool) {
	switch kind {
	case "boolean":
		return strings.ToLower(text), true
	case "number":
		if n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64); err == nil {
			return strconv.FormatInt(n, 10), true
		}
		return text, json.Valid([]byte(text))
	}
	return text, false
}

// joined is the text of a list or a map. No secret can be inside: only plugins' settings
// can be put together when these are known.
func (p *parser) joined(n pipeline.Node, s pipeline.Setting) string {
	if hasSecret(s) {
		p.Misplaced(n, "a secret inside a list or a map is possible in settings only", "give the secret a variable of its own")
		return ""
	}
	deep := slices.ContainsFunc(s.List, func(item pipeline.Setting) bool { return item.List != nil || item.Map != nil })
	if s.Map == nil && !deep {
		var items []string
		for _, item := range s.List {
			items = append(items, item.Value.Text)
		}
		return strings.Join(items, ",")
	}
	return jsonText(s)
}

func hasSecret(s pipeline.Setting) bool {
	return s.Value.FromSecret != "" || slices.ContainsFunc(s.List, hasSecret) || slices.ContainsFunc(s.Map, hasSecret)
}

// jsonText keeps the order of maps.
func jsonText(s pipeline.Setting) string {
	quote := func(text string) string {
		quoted, _ := json.Marshal(text) // a string always has a JSON form
		return string(quoted)
	}
	var parts []string
	switch {
	case s.Map != nil:
		for _, entry := range s.Map {
			parts = append(parts, quote(entry.Name)+":"+jsonText(entry))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case s.List != nil:
		for _, item := range s.List {
			parts = append(parts, jsonText(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case s.Bare:
		return s.Value.Text
	}
	return quote(s.Value.Text)
}
