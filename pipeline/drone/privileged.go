package drone

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// Some plugins are privileged by themselves, for every repository: whoever makes such a step
// run a program of his own is root of the machine. So the step runs as its image is. Nothing
// in the file reaches it but its settings, the server's own variables are the only others, and
// the workspace lies where it hides no program of the image.

// isPrivilegedPlugin reports whether a step is such a plugin, and takes from it what may not
// reach it.
func (t *translation) isPrivilegedPlugin(s *draft) bool {
	if !t.isPrivilegedImage(s.Image) || isOwnProgram(s) {
		return false
	}
	if why := t.notAsItIs(s); why != "" {
		t.warn(s.node, fmt.Sprintf("the plugin %s is not privileged here: %s", s.Image, why), "")
		return false
	}
	s.Environment = slices.DeleteFunc(s.Environment, func(v pipeline.Variable) bool {
		if isSetting(v.Name) {
			return false
		}
		t.warn(s.node, fmt.Sprintf("the variable %s does not reach the plugin %s, which is privileged", v.Name, s.Image), "a privileged plugin gets settings alone")
		return true
	})
	return true
}

func (t *translation) isPrivilegedImage(image string) bool {
	images := t.o.PrivilegedImages
	if images == nil {
		images = DefaultPrivileged()
	}
	return slices.ContainsFunc(images, func(rule string) bool { return pipeline.IsImage(rule, image) })
}

// isOwnProgram reports whether a step is no plugin for Drone either: it runs a program of the
// author's, or the plugin is to use another docker.
func isOwnProgram(s *draft) bool {
	return len(s.Commands)+len(s.Entrypoint)+len(s.Args) > 0 || s.mounts || slices.ContainsFunc(s.Environment, isEscape)
}

// notAsItIs says what else lets the file's author decide what a plugin runs; "" is nothing.
func (t *translation) notAsItIs(s *draft) string {
	switch {
	case s.User != "":
		return "it has a user"
	case path.IsAbs(s.Directory) && !isInside(path.Clean(s.Directory), t.fullPath):
		return "its working_dir is outside the workspace"
	case !isInside(t.fullPath, defaultBase) || !isInside(path.Join("/", t.base), defaultBase):
		return fmt.Sprintf("the workspace of the pipeline is %s, and could hide programs of the image (it may be %s, or inside)", t.fullPath, defaultBase)
	}
	return ""
}

// isEscape knows the variables with which a plugin is not privileged for Drone either.
func isEscape(v pipeline.Variable) bool {
	return slices.Contains([]string{"PATH", "HOME", "DOCKER_HOST", "DOCKER_OPTS", "XDG_RUNTIME_DIR"}, strings.ToUpper(v.Name))
}

// defaultBase is the folder of Drone's own in which a workspace hides nothing.
const defaultBase = "/drone"

func isInside(dir, of string) bool { return dir == of || strings.HasPrefix(dir, of+"/") }

// isSetting reports whether a variable is one that plugins, and nothing else, look at.
func isSetting(name string) bool { return strings.HasPrefix(name, "PLUGIN_") }

// isForPlugin reports whether a variable of the server's may reach a privileged plugin.
func isForPlugin(name string) bool {
	return name == "CI" || name == "DRONE" || strings.HasPrefix(name, "CI_") || strings.HasPrefix(name, "DRONE_")
}

// keepFromPlugins gives the variables of the whole pipeline to each of its other steps, where
// it has a privileged plugin. A file that is converted keeps them: what is privileged shows in it.
func (t *translation) keepFromPlugins() {
	if len(t.plugins) == 0 || len(t.out.Environment) == 0 || t.o.Raw {
		return
	}
	for _, steps := range [][]pipeline.Step{t.out.Services, t.out.Steps} {
		for i := range steps {
			if s := &steps[i]; !t.plugins[s.Name] {
				s.Environment = slices.Concat(t.out.Environment, s.Environment)
			}
		}
	}
	t.out.Environment = nil
}
