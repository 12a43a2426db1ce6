// Package portable makes a pipeline of another CI system independent of its server: what the
// server would have put into the file or given to the steps is named where a run needs it, so
// that no converted step is green because a variable was empty.
package portable

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// Convert replaces ${NAME} in the pipeline of w, which was read without substitution. Values
// that are the same for every build (w.Fixed) are put in. Where a native file substitutes, other
// names become ${matrix.NAME} or ${env.NAME}, which a run must be given; steps get the variables
// of the build that their commands name in the same way. Warnings tell of ${NAME} that the server
// makes empty. The error is a [pipeline.Errors] of what remains.
func Convert(w *pipeline.Workflow) (warnings []string, err error) {
	c := &conversion{workflow: w, axes: axes(&w.Matrix)}
	p := w.Pipeline
	for i := range p.Environment {
		v := &p.Environment[i]
		c.value(v.Position, "environment."+v.Name, &v.Value.Text)
	}
	for _, steps := range [][]pipeline.Step{p.Services, p.Steps} {
		for i := range steps {
			c.step(&steps[i])
		}
	}
	c.others(reflect.ValueOf(p).Elem(), pipeline.Position{Line: 1}, "")
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return c.warnings, nil
}

type conversion struct {
	workflow *pipeline.Workflow
	axes     map[string]bool
	warnings []string
	errs     pipeline.Errors
}

func axes(m *pipeline.Matrix) map[string]bool {
	names := map[string]bool{}
	for _, axis := range m.Axes {
		names[axis.Name] = true
	}
	for _, cell := range m.Include {
		for _, v := range cell {
			names[v.Axis] = true
		}
	}
	return names
}

// step replaces what a native file substitutes in a step.
func (c *conversion) step(s *pipeline.Step) {
	c.value(s.Position, "image", &s.Image)
	for i := range s.Entrypoint {
		c.value(s.Position, "entrypoint", &s.Entrypoint[i])
	}
	for i := range s.Args {
		c.value(s.Position, "args", &s.Args[i])
	}
	for i := range s.Environment {
		c.value(s.Position, "environment."+s.Environment[i].Name, &s.Environment[i].Value.Text)
	}
	for i := range s.Settings {
		c.setting(s, "settings."+s.Settings[i].Name, &s.Settings[i])
	}
	c.commands(s)
}

func (c *conversion) setting(s *pipeline.Step, key string, setting *pipeline.Setting) {
	c.value(s.Position, key, &setting.Value.Text)
	for _, parts := range [][]pipeline.Setting{setting.List, setting.Map} {
		for i := range parts {
			c.setting(s, key, &parts[i])
		}
	}
}

var (
	braces = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{([^}]*)\}`) })
	simple = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:=|-|=)(.*))?$`) })
)

// value replaces the variables of a text in which a native file substitutes.
func (c *conversion) value(at pipeline.Position, key string, text *string) {
	if strings.Contains(*text, "${env.") || strings.Contains(*text, "${matrix.") ||
		strings.Contains(envsubst.Restore(*text), "${env.") || strings.Contains(envsubst.Restore(*text), "${matrix.") {
		c.fail(at, key, "${env.…} and ${matrix.…} are variables of native files, and would be replaced", "")
		return
	}
	*text = braces().ReplaceAllStringFunc(*text, func(found string) string {
		parts := simple().FindStringSubmatch(found[2 : len(found)-1])
		if parts == nil {
			return c.operated(at, key, found)
		}
		name, byDefault := parts[1], parts[3]
		value, known := c.workflow.Fixed[name]
		switch {
		case known && value == "":
			return byDefault
		case known:
			return value
		case c.axes[name]:
			return "${matrix." + name + "}"
		case parts[2] != "":
			return "${env." + name + ":-" + byDefault + "}"
		}
		return "${env." + name + "}"
	})
}

var firstName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`) })

// operated replaces a variable with an operator, such as ${NAME:0:7}: that takes a value which
// is known now.
func (c *conversion) operated(at pipeline.Position, key, found string) string {
	name := firstName().FindString(found)
	if _, known := c.workflow.Fixed[name]; known {
		if done, err := envsubst.Substitute("", found, c.workflow.Fixed); err == nil {
			return done
		}
	}
	c.fail(at, key, fmt.Sprintf("%s: a native file has whole variables in values, not parts of them", envsubst.Restore(found)),
		fmt.Sprintf("give a value for every run: convert --env %s=VALUE; or make it in commands", name))
	return found
}

// inCommands finds the variables of a build that a shell would read. A default is in braces
// only: $DRONE_TAG-amd64 is the variable and a text behind it.
var inCommands = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$(?:\{[#!]?((?:DRONE|CI)_[A-Z0-9_]+)(:?[-=])?|((?:DRONE|CI)_[A-Z0-9_]+))`)
})

// facts are the variables that tell of the run, which a native file has under other names.
var facts = map[string]pipeline.RunFact{
	"CI_PIPELINE_STATUS": pipeline.RunStatus, "DRONE_BUILD_STATUS": pipeline.RunStatus, "DRONE_STAGE_STATUS": pipeline.RunStatus,
	"DRONE_FAILED_STEPS": pipeline.RunFailedSteps, "CI_STEP_STARTED": pipeline.RunStarted,
}

// commands gives a step the variables of the build that what it runs names. Those that are
// only used with a default may be missing.
func (c *conversion) commands(s *pipeline.Step) {
	for i := range s.Commands {
		c.own(s, &s.Commands[i])
		c.quoted(s, &s.Commands[i])
	}
	needed, optional := map[string]bool{}, map[string]bool{}
	for _, command := range slices.Concat(s.Commands, s.Entrypoint, s.Args) {
		for _, found := range inCommands().FindAllStringSubmatch(command, -1) {
			name := cmp.Or(found[1], found[3])
			optional[name] = found[2] != "" && (optional[name] || !needed[name])
			needed[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		if c.isSet(s, name) || c.axes[name] {
			continue
		}
		v := pipeline.Variable{Position: s.Position, Name: name}
		fixed, known := c.workflow.Fixed[name]
		switch {
		case facts[name] != "":
			v.Value.FromRun = facts[name]
		case known:
			v.Value.Text = fixed
		case name == "DRONE_STEP_NAME" || name == "CI_STEP_NAME":
			v.Value.Text = s.Name
		case optional[name]:
			v.Value.Text = "${env." + name + ":-}"
		default:
			v.Value.Text = "${env." + name + "}"
		}
		s.Environment = append(s.Environment, v)
	}
}

func (c *conversion) isSet(s *pipeline.Step, name string) bool {
	named := func(v pipeline.Variable) bool { return v.Name == name }
	return slices.ContainsFunc(s.Environment, named) || slices.ContainsFunc(c.workflow.Environment, named)
}

// replaced are the fields of a pipeline and its steps that step and Convert have replaced.
var replaced = []string{"Image", "Entrypoint", "Args", "Environment", "Settings", "Commands"}

// others looks at all texts of a value. Those that are not replaced yet may have variables with
// fixed values only. $ that the file has escaped is restored everywhere.
func (c *conversion) others(v reflect.Value, at pipeline.Position, key string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.others(v.Elem(), at, key)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.others(v.Index(i), at, key)
		}
	case reflect.Struct:
		c.fields(v, at, key)
	case reflect.String:
		c.text(v, at, key)
	}
}

func (c *conversion) fields(v reflect.Value, at pipeline.Position, key string) {
	if s, ok := v.Addr().Interface().(*pipeline.Step); ok {
		at, key = s.Position, ""
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || field.Type == reflect.TypeFor[pipeline.Position]() {
			continue
		}
		below := strings.ToLower(field.Name)
		switch {
		case slices.Contains(replaced, field.Name) && (key == "" || key == "*"):
			below = "*" // the restoring of $ alone is left to do
		case key != "":
			below = key + "." + below
		}
		c.others(v.Field(i), at, below)
	}
}

// text replaces variables of fixed values in a text, and reports the others. Names of steps
// and pipelines get another form anyway.
func (c *conversion) text(v reflect.Value, at pipeline.Position, key string) {
	text := v.String()
	if !strings.HasPrefix(key, "*") && !slices.Contains([]string{"name", "dependson", "file"}, key) {
		for _, found := range braces().FindAllString(text, -1) {
			name := firstName().FindString(found)
			value, err := envsubst.Substitute("", found, c.workflow.Fixed)
			if _, known := c.workflow.Fixed[name]; !known || err != nil {
				c.fail(at, key, fmt.Sprintf("%s: a native file has no variables here", found), fmt.Sprintf("give a value for every run: convert --env %s=VALUE", name))
				continue
			}
			text = strings.Replace(text, found, value, 1)
		}
	}
	if restored := envsubst.Restore(text); restored != v.String() {
		v.SetString(restored)
	}
}

func (c *conversion) fail(at pipeline.Position, key, message, hint string) {
	c.errs = append(c.errs, &pipeline.Error{File: c.workflow.File, Line: at.Line, Column: at.Column,
		Key: strings.TrimPrefix(at.Key+"."+key, "."), Message: message, Hint: hint})
}
