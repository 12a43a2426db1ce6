package portable

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// own replaces ${NAME} in a command where the step or the pipeline sets the variable NAME. A
// server replaces it when it reads the file, and knows only what belongs to the build, so the
// step's own value is not what the command gets: most often it gets nothing. The shell of a native
// step would read the step's own value.
func (c *conversion) own(s *pipeline.Step, command *string) {
	*command = braces().ReplaceAllStringFunc(*command, func(found string) string {
		name := firstName().FindString(found)
		if _, known := c.workflow.Fixed[name]; !c.isSet(s, name) || c.axes[name] {
			return found
		} else if !known && (strings.HasPrefix(name, "DRONE_") || strings.HasPrefix(name, "CI_")) {
			if !c.isPassedOn(s, name) {
				c.fail(s.Position, "commands", fmt.Sprintf("%s is the build's variable, and the step has another one of that name", envsubst.Restore(found)),
					fmt.Sprintf("write $%s for the step's own, or give a value for every run: convert --env %s=VALUE", name, name))
			}
			return found
		}
		done, err := envsubst.Substitute("", found, c.workflow.Fixed)
		if err != nil {
			return found
		}
		warning := fmt.Sprintf("step %s: %s is replaced by nothing, as on the server: the build has no such variable (write $%s for the step's own)", s.Name, envsubst.Restore(found), name)
		if done == "" && !slices.Contains(c.warnings, warning) {
			c.warnings = append(c.warnings, warning)
		}
		return done
	})
}

// isPassedOn reports whether the step sets a variable of the build to the build's value.
func (c *conversion) isPassedOn(s *pipeline.Step, name string) bool {
	return slices.ContainsFunc(slices.Concat(c.workflow.Environment, s.Environment), func(v pipeline.Variable) bool {
		return v.Name == name && v.Value.Text == "${env."+name+"}"
	})
}
