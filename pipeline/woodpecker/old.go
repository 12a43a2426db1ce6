package woodpecker

import (
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// Files of Woodpecker before version 2 have their steps under pipeline, secrets as lists, and
// groups of steps that run at once. Servers refuse them; this file reads them to be converted.

// oldSteps reads the steps, and lets each wait for the group before its own.
func (p *parser) oldSteps(root pipeline.Node) []*container {
	n, _ := root.Get("pipeline")
	steps := p.containers(n, "steps")
	groups := make([]string, len(steps))
	for i, c := range steps {
		if group, given := c.node.Get("group"); given {
			groups[i] = p.Text(group)
		}
	}
	if !slices.ContainsFunc(groups, func(group string) bool { return group != "" }) {
		return steps
	}
	var before, stage []dependency
	for i, c := range steps {
		if i > 0 && (groups[i] == "" || groups[i] != groups[i-1]) {
			before, stage = stage, nil
		}
		c.dependsOn = append([]dependency{}, before...)
		stage = append(stage, dependency{name: c.Name, at: c.node})
	}
	return steps
}

// oldFields are the keys of a step that Woodpecker has no longer, or in another form.
func (p *parser) oldFields(c *container, known fields) {
	known["group"], known["secrets"] = ignore, func(n pipeline.Node) { c.keys["secrets"] = n }
	environment := known["environment"]
	known["environment"] = func(n pipeline.Node) {
		if n.Kind() != "list" {
			environment(n)
			return
		}
		c.keys["environment"] = n
		for _, item := range n.Items() {
			name, value, _ := strings.Cut(p.Text(item), "=")
			if name == "" {
				p.Wrong(item, "has no name", "write NAME=VALUE")
				continue
			}
			c.variables = append(c.variables, pipeline.Variable{Position: item.Position(), Name: name, Value: pipeline.Value{Text: value}})
		}
	}
}

// oldSecrets gives a step the secrets that it lists, under their names in upper case. A plugin
// stays one.
func (p *parser) oldSecrets(c *container) {
	n, given := c.keys["secrets"]
	if !given {
		return
	}
	plugin := c.isPlugin()
	readMap := func(n pipeline.Node, known map[string]func(pipeline.Node)) { p.object(n, known) }
	p.ListedSecrets(n, readMap, func(item pipeline.Node, secret, variable string) {
		value := pipeline.Value{FromSecret: secret}
		if setting, isSetting := strings.CutPrefix(variable, "PLUGIN_"); isSetting && plugin {
			c.settings = append(c.settings, pipeline.Setting{Name: strings.ToLower(setting), Value: value})
			return
		}
		c.variables = slices.DeleteFunc(c.variables, func(v pipeline.Variable) bool { return v.Name == variable })
		c.variables = append(c.variables, pipeline.Variable{Position: item.Position(), Name: variable, Value: value})
	})
}
