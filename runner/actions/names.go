package actions

import (
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// addNames has the containers of a job be known by all names that lead to them: what the runner
// calls a service, the hostname of options and, where the runner does not name a service, the
// last part of its image's name, as most services are called: redis for docker.io/library/redis:8.
// A name that would lead to two of them leads to neither.
func (j *job) addNames(services []Container) {
	all := j.pipeline.Services
	byImage := map[string][]*pipeline.Step{}
	for i := range all {
		add := func(name string) {
			if names := &all[i].Names; pipeline.IsPeerName(name) && name != all[i].Name && !slices.Contains(names.Aliases, name) {
				names.Aliases = append(names.Aliases, name)
			}
		}
		add(all[i].Names.Hostname)
		switch {
		case i >= len(services): // the job's own
		case services[i].ContextName != "":
			add(services[i].ContextName)
		default:
			name := imageName(all[i].Image)
			byImage[name] = append(byImage[name], &all[i])
		}
	}
	isTaken := func(name string) bool {
		return slices.ContainsFunc(all, func(s pipeline.Step) bool { return s.Name == name || slices.Contains(s.Names.Aliases, name) })
	}
	var unique []string
	for name, of := range byImage {
		if len(of) == 1 && pipeline.IsPeerName(name) && !isTaken(name) {
			unique = append(unique, name)
		}
	}
	for _, name := range unique {
		byImage[name][0].Names.Aliases = append(byImage[name][0].Names.Aliases, name)
	}
}

// imageName is the last part of an image's name, without its tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}
