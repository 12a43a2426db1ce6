package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Flag is a key of a step as a command line gives it.
type Flag struct {
	Name string // for messages, with its dashes, like --memory
	Key  string // as in the file
	// Value is a string, a bool, a [Number], a []string for a list, or a []Pair for a map.
	Value any
}

// Number is the text of a number.
type Number string

// Pair is an entry of a map.
type Pair struct{ Key, Value string }

// ParseStep reads a step from a command line. Every value has the meaning and
// passes the checks that it has in a file. The error is an [Errors] whose keys
// are the names of the flags.
func ParseStep(flags []Flag) (*Step, error) {
	p := &parser{depends: [][]value{nil}, artifactAt: map[string]value{}}
	root := value{node: &node{kind: mapKind}}
	s := &Step{}
	known := p.stepFields(s)
	known["name"] = func(v value) { s.Name = p.word(v) }
	for _, f := range flags {
		root.pairs = append(root.pairs, pair{name: f.Key, value: f.node()})
	}
	p.object(root, known)
	p.together(root, s)
	for _, e := range p.errs {
		e.Key = flagName(e.Key, flags)
	}
	s.specFileAt.Key = flagName("spec", flags)
	return s, p.errs.result()
}

var listIndex = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[[0-9]+\]`) })

// flagName turns the path of a key, like ulimits.nofile, into --ulimit.nofile.
func flagName(path string, flags []Flag) string {
	path = listIndex().ReplaceAllString(path, "")
	key, rest, _ := strings.Cut(path, ".")
	for _, f := range flags {
		if f.Key == key {
			return strings.TrimSuffix(f.Name+"."+rest, ".")
		}
	}
	return path
}

func (f Flag) node() *node {
	switch v := f.Value.(type) {
	case string:
		return &node{kind: textKind, text: v}
	case Number:
		return &node{kind: numberKind, text: string(v)}
	case bool:
		return &node{kind: booleanKind, text: fmt.Sprint(v)}
	case []string:
		list := &node{kind: listKind}
		for _, text := range v {
			list.items = append(list.items, &node{kind: textKind, text: text})
		}
		return list
	case []Pair:
		object := &node{kind: mapKind}
		for _, p := range v {
			// As with other flags, the last one of a name counts.
			object.pairs = slices.DeleteFunc(object.pairs, func(q pair) bool { return q.name == p.Key })
			object.pairs = append(object.pairs, pair{name: p.Key, value: &node{kind: textKind, text: p.Value}})
		}
		return object
	}
	panic(fmt.Sprintf("pipeline: flag %s has a %T", f.Name, f.Value))
}
