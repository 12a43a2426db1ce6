package pipeline

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// Write returns the pipeline as a native file, which Parse reads into one with the same
// plan. Names that a native file does not take get others. The error is an [Errors] of
// what a native file cannot say, without positions.
func Write(p *Pipeline) ([]byte, error) {
	w := &writer{names: map[string]string{}}
	for i := range p.Services {
		w.rename(p.Services[i].Name, true)
	}
	for i := range p.Steps {
		w.rename(p.Steps[i].Name, false)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(w.pipeline(p)); err != nil {
		return nil, fmt.Errorf("write pipeline %s: %w", p.Name, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write pipeline %s: %w", p.Name, err)
	}
	if _, err := Parse("", out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// writer turns the model into nodes of YAML.
type writer struct {
	names map[string]string // of steps and services, to what they are called in the file
}

var notInName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9_. -]+`) })

// rename finds a name that a native file takes.
func (w *writer) rename(name string, service bool) {
	plain := name
	if !stepName().MatchString(name) || len(name) > maxName || service && !IsPeerName(name) {
		plain = strings.Trim(notInName().ReplaceAllString(name, "-"), "-. _")
		if service {
			plain = strings.Trim(strings.NewReplacer("_", "-", " ", "-").Replace(plain), "-")
		}
		plain = plain[:min(len(plain), maxName-4)]
	}
	if plain == "" {
		plain = "step"
	}
	unique := plain
	taken := func() bool {
		for _, other := range w.names {
			if other == unique {
				return true
			}
		}
		return false
	}
	for i := 2; taken(); i++ {
		unique = fmt.Sprintf("%s-%d", plain, i)
	}
	w.names[name] = unique
}

// mapping is a map of YAML that leaves out what is not set.
type mapping struct{ tree.Map }

func newMapping() mapping { return mapping{tree.NewMap()} }

func (m mapping) text(key, text string)                { m.Put(key, asText(text)) }
func (m mapping) flag(key string, set bool)            { m.Put(key, asFlag(set)) }
func (m mapping) number(key string, n int64)           { m.Put(key, asNumber(n)) }
func (m mapping) duration(key string, d time.Duration) { m.Put(key, asDuration(d)) }
func (m mapping) texts(key string, texts []string)     { m.Put(key, asTexts(texts)) }

// The nodes of values are nil for those that are not set.

func asText(text string) *yaml.Node {
	if text == "" {
		return nil
	}
	return tree.Text(text)
}

func asFlag(set bool) *yaml.Node {
	if !set {
		return nil
	}
	return tree.Bare("!!bool", "true")
}

func asNumber(n int64) *yaml.Node {
	if n == 0 {
		return nil
	}
	return tree.Bare("!!int", strconv.FormatInt(n, 10))
}

func asDuration(d time.Duration) *yaml.Node {
	if d == 0 {
		return nil
	}
	return tree.Text(DurationText(d))
}

// asTexts is a list: a nil one is not set, and an empty one is.
func asTexts(texts []string) *yaml.Node {
	if texts == nil {
		return nil
	}
	return tree.Texts(texts)
}

func asNumbers(numbers []int) *yaml.Node {
	if numbers == nil {
		return nil
	}
	list := tree.NewList()
	for _, n := range numbers {
		list.Content = append(list.Content, tree.Bare("!!int", strconv.Itoa(n)))
	}
	list.Style = yaml.FlowStyle
	return list
}

func (w *writer) pipeline(p *Pipeline) *yaml.Node {
	m := newMapping()
	m.text("name", p.Name)
	m.Put("environment", environmentNode(p.Environment))
	m.texts("env_file", p.EnvFiles)
	if p.Workspace != DefaultWorkspace {
		m.text("workspace", p.Workspace)
	}
	m.duration("timeout", p.Timeout)
	m.texts("volumes", p.Volumes)
	m.Put("matrix", matrixNode(&p.Matrix))
	m.Put("egress", egressNode(p.Egress))
	m.flag("fail_fast", p.FailFast)
	m.flag("stop_on_failure", p.StopOnFailure)
	var secrets []string
	for _, use := range p.PullSecrets {
		secrets = append(secrets, use.Name)
	}
	m.texts("image_pull_secrets", secrets)
	m.Put("services", tree.List(p.Services, w.step))
	m.Put("steps", tree.List(p.Steps, w.step))
	return m.Node
}

func matrixNode(x *Matrix) *yaml.Node {
	m := newMapping()
	for _, axis := range x.Axes {
		m.texts(axis.Name, axis.Values)
	}
	cells := func(cells []Cell) *yaml.Node {
		return tree.List(cells, func(c *Cell) *yaml.Node {
			m := newMapping()
			for _, v := range *c {
				m.text(v.Axis, v.Value)
			}
			return m.Node
		})
	}
	m.Put("exclude", cells(x.Exclude))
	m.Put("include", cells(x.Include))
	return m.Filled()
}

// environmentNode is a map, or a list where a value is the host's.
func environmentNode(variables []Variable) *yaml.Node {
	if len(variables) == 0 {
		return nil
	}
	if slices.ContainsFunc(variables, func(v Variable) bool { return v.Value.FromHost }) {
		return tree.List(variables, func(v *Variable) *yaml.Node {
			if v.Value.FromHost {
				return tree.Text(v.Name)
			}
			return tree.Text(v.Name + "=" + v.Value.Text)
		})
	}
	m := newMapping()
	for _, v := range variables {
		m.Put(v.Name, valueNode(v.Value))
	}
	return m.Node
}

func valueNode(v Value) *yaml.Node {
	from := newMapping()
	from.text("from_secret", v.FromSecret)
	from.text("from_run", string(v.FromRun))
	if from.Filled() == nil {
		return tree.Text(v.Text)
	}
	from.Node.Style = yaml.FlowStyle
	return from.Node
}

func settingsNode(settings []Setting) *yaml.Node {
	m := newMapping()
	for _, s := range settings {
		m.Put(s.Name, settingNode(&s))
	}
	return m.Filled()
}

func settingNode(s *Setting) *yaml.Node {
	switch {
	case s.Map != nil:
		m := newMapping()
		for _, entry := range s.Map {
			m.Put(entry.Name, settingNode(&entry))
		}
		return m.Node
	case s.List != nil:
		l := tree.NewList()
		for i := range s.List {
			l.Content = append(l.Content, settingNode(&s.List[i]))
		}
		return l
	case s.Bare: // YAML takes JSON's numbers, booleans and null for what they are
		return tree.Bare("", s.Value.Text)
	}
	return valueNode(s.Value)
}

// WrittenKey is a key of a step as a native file has it.
type WrittenKey struct {
	Name  string
	Value *yaml.Node
}

// Written returns the keys that a native file has for a step but its name, in their order. The
// names of other steps are as they are.
func Written(s *Step) []WrittenKey {
	w := &writer{names: map[string]string{}}
	for _, name := range s.DependsOn {
		w.names[name] = name
	}
	var written []WrittenKey
	for _, key := range Keys() {
		if key.write == nil {
			continue
		}
		if value := key.write(w, s); value != nil {
			written = append(written, WrittenKey{key.Name, value})
		}
	}
	return written
}
