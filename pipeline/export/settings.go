package export

import (
	"slices"

	"github.com/stepexec/stepexec/pipeline"
)

// checkSettings refuses secrets inside of lists and maps that the plugin would get in another form.
// Drone replaces only a setting that is a secret as a whole; Woodpecker hands on a list with a
// secret as JSON, where others join plain values by commas.
func (e *exporter) checkSettings(settings []pipeline.Setting) {
	for _, s := range settings {
		isInside := s.List != nil || s.Map != nil
		if !isInside || !hasSecret(s) {
			continue
		}
		isPlain := s.Map == nil && !slices.ContainsFunc(s.List, func(item pipeline.Setting) bool { return item.List != nil || item.Map != nil })
		switch {
		case e.to == Drone:
			e.refuse("settings."+s.Name, "a secret is inside of it, and Drone puts none there (give the secret a setting of its own)")
		case isPlain && !s.JSON:
			e.refuse("settings."+s.Name, "the plugin gets this list joined by commas, and with a secret in it as JSON there (give the secret a setting of its own)")
		}
	}
}

func hasSecret(s pipeline.Setting) bool {
	return s.Value.FromSecret != "" || slices.ContainsFunc(s.List, hasSecret) || slices.ContainsFunc(s.Map, hasSecret)
}

// withSettings adds the variables in which a step finds its settings. They win over those of the
// workflow, but not over the step's own.
func (e *exporter) withSettings(variables []pipeline.Variable, s *pipeline.Step) []pipeline.Variable {
	for _, setting := range s.Settings {
		v, ok := setting.Variable()
		named := func(other pipeline.Variable) bool { return other.Name == v.Name }
		if !ok {
			e.refuse("settings."+setting.Name, "a secret is inside of it, and the step is no plugin there (give the secret a setting of its own)")
		} else if !slices.ContainsFunc(s.Environment, named) {
			variables = append(slices.DeleteFunc(variables, named), v)
		}
	}
	return variables
}
