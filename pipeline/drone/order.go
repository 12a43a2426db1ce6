package drone

import (
	"fmt"
	"path"
	"slices"

	"github.com/stepexec/stepexec/pipeline"
)

const maxName = 100

// lint checks names and dependencies by the rules, and in the words, of the runner: what
// a step depends on must come before it.
func (t *translation) lint(all []draft) {
	t.graph = slices.ContainsFunc(all, func(s draft) bool { return len(s.dependsOn) > 0 })
	seen := map[string]bool{cloneName: !t.disableClone}
	for i := range all {
		s := &all[i]
		name, given := s.node.Get("name")
		if !given {
			name = s.node
		}
		switch {
		case s.Name == "":
			t.Wrong(s.node, "linter: invalid or missing name", "give the step a name")
		case len(s.Name) > maxName:
			t.Wrong(name, fmt.Sprintf("linter: the name has %d characters, more than %d", len(s.Name), maxName), "")
		case seen[s.Name]:
			t.Wrong(name, "linter: duplicate step names", fmt.Sprintf("%q is the name of another step or service", s.Name))
		}
		if s.Image == "" {
			t.Wrong(s.node, "linter: invalid or missing image", "give the step an image")
		}
		for _, on := range s.dependsOn {
			switch {
			case on.Raw() == s.Name:
				t.Wrong(on, fmt.Sprintf("linter: cyclical step dependency detected: %s", s.Name), "")
			case !seen[on.Raw()]:
				t.Wrong(on, fmt.Sprintf("linter: unknown step dependency detected: %s references %s", s.Name, on.Raw()), "a step can depend on those before it")
			}
		}
		seen[s.Name] = true
	}
}

// add puts a draft into the pipeline.
func (t *translation) add(s *draft) {
	t.others[s.Name] = len(s.Commands) == 0
	if len(s.Commands) > 0 && t.o.Netrc != nil && !t.o.NetrcCloneOnly {
		t.giveNetrc(&s.Step)
	}
	if s.service || s.Detach {
		s.EndsRun = nil
		if s.Failure != pipeline.FailureIgnore {
			s.Failure = ""
		}
	}
	if s.service && s.condition == nil && len(s.dependsOn) == 0 {
		t.out.Services = append(t.out.Services, s.Step)
		return
	}
	s.Detach, s.Serves = s.Detach || s.service, s.service
	if s.condition != nil {
		s.When = t.when(s)
	}
	if t.graph {
		s.DependsOn = []string{}
		for _, on := range s.dependsOn {
			if on.Raw() != cloneName || t.disableClone { // without the implicit step it is one of the file's own
				s.DependsOn = append(s.DependsOn, on.Raw())
			}
		}
		if t.clones && len(s.DependsOn) == 0 {
			s.DependsOn = append(s.DependsOn, cloneName)
		}
	}
	t.out.Steps = append(t.out.Steps, s.Step)
}

func (t *translation) when(s *draft) []pipeline.Condition {
	c := *s.condition
	if !hasConditions(c) && c.Status == (pipeline.RunOn{Success: true}) {
		return nil
	}
	return []pipeline.Condition{c}
}

// cloneStep is the implicit first one, of which the image does everything.
func (t *translation) cloneStep() pipeline.Step {
	s := pipeline.Step{Name: cloneName, Image: t.o.Clone, Pull: pipeline.PullMissing, Environment: t.cloneOptions, Limits: t.o.Limits, Network: t.o.Network}
	if slices.Contains(t.out.Volumes, baseVolume) {
		s.Mounts = append(s.Mounts, pipeline.Mount{Type: pipeline.MountVolume, Source: baseVolume, Destination: path.Join("/", t.base), Options: []string{"rbind", "rw"}})
	}
	s.Mounts = append(s.Mounts, t.o.Volumes...)
	t.others[cloneName] = true
	return s
}
