package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// settings reads the parameters of a plugin.
func (r *reader) settings(v value) []Setting {
	if v.kind != mapKind {
		r.wrongType(v, "a map")
		return nil
	}
	var settings []Setting
	names := map[string]string{}
	for _, p := range v.pairs {
		field := v.field(p)
		variable := pluginVariable(p.name)
		if err := checkVariable(p.name); err != nil {
			r.misplaced(field, err.Error(), "")
		} else if first, taken := names[variable]; taken {
			r.misplaced(field, fmt.Sprintf("sets %s, as %s does", variable, first), "remove one of the two")
		}
		names[variable] = p.name
		s := r.setting(field, false)
		s.Name = p.name
		settings = append(settings, s)
	}
	return settings
}

// pluginVariable is the variable in which a plugin finds a setting.
func pluginVariable(name string) string {
	return "PLUGIN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Variable is the variable in which a step finds the setting. ok is false where a secret is inside
// of a list or map: a variable in a file is a text or a secret.
func (s Setting) Variable() (v Variable, ok bool) {
	v = Variable{Position: s.Position, Name: pluginVariable(s.Name), Value: s.Value}
	if s.scalar() {
		return v, true
	}
	ok = true
	v.Value.Text = s.text(func(value Value, _ Position) string {
		ok = ok && value.FromSecret == ""
		return value.Text
	})
	return v, ok
}

// setting reads any value. Only what ends up as JSON may have null in it: nested
// says so.
func (r *reader) setting(v value, nested bool) Setting {
	s := Setting{Position: v.position()}
	switch v.kind {
	case nullKind:
		if !nested {
			r.wrong(v, "has no value", `write "" for an empty one`)
		}
		s.Value.Text, s.Bare = "null", true
	case listKind:
		s.List = []Setting{}
		for i := range v.items {
			s.List = append(s.List, r.setting(v.item(i), nested))
		}
	case mapKind:
		if _, secret := v.get("from_secret"); secret {
			s.Value.FromSecret = r.fromSecret(v)
			break
		}
		s.Map = []Setting{}
		for _, p := range v.pairs {
			entry := r.setting(v.field(p), true)
			entry.Name = p.name
			s.Map = append(s.Map, entry)
		}
	default:
		s.Value.Text = r.scalar(v)
		r.notGitHubs(v, s.Value.Text)
		s.Bare, s.Value.Text = bareJSON(v.kind, s.Value.Text)
	}
	return s
}

// bareJSON tells whether a scalar is a JSON literal. YAML numbers that JSON does
// not know, like 0x1F or .inf, are strings there.
func bareJSON(k kind, text string) (bool, string) {
	switch k {
	case booleanKind:
		return true, strings.ToLower(text)
	case numberKind:
		return json.Valid([]byte(text)), text
	}
	return false, text
}

func (s Setting) scalar() bool { return s.List == nil && s.Map == nil }

// text is the value of the variable: scalars as they are, lists of scalars
// joined by commas, everything else as JSON.
func (s Setting) text(secret func(Value, Position) string) string {
	switch {
	case s.scalar():
		return secret(s.Value, s.Position)
	case s.Map != nil || s.JSON:
		return s.json(secret)
	}
	items := make([]string, len(s.List))
	for i, item := range s.List {
		if !item.scalar() {
			return s.json(secret)
		}
		items[i] = secret(item.Value, item.Position)
	}
	return strings.Join(items, ",")
}

func (s Setting) json(secret func(Value, Position) string) string {
	var parts []string
	switch {
	case s.Map != nil:
		for _, entry := range s.Map {
			parts = append(parts, jsonString(entry.Name)+":"+entry.json(secret))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case s.List != nil:
		for _, item := range s.List {
			parts = append(parts, item.json(secret))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case s.Bare:
		return s.Value.Text
	}
	return jsonString(secret(s.Value, s.Position))
}

// jsonString leaves <, > and & alone, unlike json.Marshal: plugins read the text
// with shell tools, too.
func jsonString(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic("a string always has a JSON form: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
