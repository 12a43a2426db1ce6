package main

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

// explainStep writes a planned step, or service, as YAML.
func explainStep(w io.Writer, p *run.Planned, root, name string) error {
	plan := p.Plan
	for _, s := range plan.LeftOut {
		if s.Name == name {
			_, err := fmt.Fprintf(w, "name: %s\nruns: no\nbecause: %s\n", s.Name, s.Reason)
			return err
		}
	}
	all := slices.Concat(plan.Services, plan.Steps)
	i := slices.IndexFunc(all, func(s pipeline.PlannedStep) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for i := range all {
			names = append(names, all[i].Name)
		}
		return fmt.Errorf("explain %s: there is no such step or service in the plan (it has %s)", name, strings.Join(names, ", "))
	}
	s := all[i]
	for i := range s.SecretFiles {
		s.SecretFiles[i].Value = []byte("***") // a short value is not masked
	}
	top := &yaml.Node{Kind: yaml.MappingNode}
	addPair(top, "runs", scalarNode(runsOn(s.RunOn)))
	addFields(top, "", reflect.ValueOf(s))
	image, err := p.Fetcher.For(s.Platform).Foresee(root, s.Image, s.Pull)
	if err != nil {
		return fmt.Errorf("explain %s: image %s: %w", name, s.Image, err)
	}
	if image.Signature != "" {
		addPair(top, "signature", scalarNode(image.Signature))
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return fmt.Errorf("explain %s: %w", name, err)
	}
	return encoder.Close()
}

// addFields adds the non-zero fields of a struct, under the names of the file's keys that decide
// them. It uses reflection so that no key of a step can be forgotten here. path is the struct's
// path in a planned step, ending in a dot.
func addFields(to *yaml.Node, path string, v reflect.Value) {
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.IsZero() || name == "RunOn" || name == "SecretEnv" || name == "Authored":
		case field.Kind() == reflect.Struct: // names, limits, security: these are not levels of the file
			addFields(to, path+name+".", field)
		default:
			addPair(to, keyOf(path+name), valueNode(field))
		}
	}
}

func addPair(to *yaml.Node, key string, value *yaml.Node) {
	to.Content = append(to.Content, scalarNode(key), value)
}

func scalarNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func valueNode(v reflect.Value) *yaml.Node {
	if text, ok := v.Interface().([]byte); ok {
		return scalarNode(string(text))
	}
	if text, ok := v.Interface().(fmt.Stringer); ok { // durations, regular expressions
		return scalarNode(text.String())
	}
	switch v.Kind() {
	case reflect.Pointer:
		return valueNode(v.Elem())
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		addFields(n, v.Type().Name()+".", v)
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, valueNode(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		values := map[string]reflect.Value{}
		for it := v.MapRange(); it.Next(); {
			values[it.Key().String()] = it.Value()
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			addPair(n, key, valueNode(values[key]))
		}
		return n
	case reflect.String:
		return scalarNode(v.String())
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
}

var wordStart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`) })

// keyOf returns the key that alone decides a field, such as cpu_quota for Limits.CPUQuota, or
// otherwise the field's own name as a file would write it.
func keyOf(field string) string {
	var keys []string
	for _, key := range pipeline.Keys() {
		if len(key.Fields) == 1 && key.Fields[0] == field && field != "Script" { // Script is more than commands
			keys = append(keys, key.Name)
		}
	}
	if len(keys) == 1 {
		return keys[0]
	}
	field = field[strings.LastIndexByte(field, '.')+1:]
	switch key := strings.ToLower(wordStart().ReplaceAllString(field, "${1}${3}_${2}${4}")); key {
	case "env":
		return "environment"
	case "reason":
		return "because"
	default:
		return key
	}
}
