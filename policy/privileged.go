package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// privileged lets listed images be privileged as they are. Whatever the pipeline's author
// can reach such a container with, he has as root of the host: so nothing of his reaches it
// but settings, and nothing of the server's but its own variables.
func (c *check) privileged() {
	s := c.step
	if !s.Security.Privileged {
		return
	}
	var rule *image
	for i := range c.rules.privilegedImages {
		if c.rules.privilegedImages[i].matches(c.image) {
			rule = &c.rules.privilegedImages[i]
			break
		}
	}
	switch {
	case rule == nil:
		c.deny("privileged", "image "+s.Image, "it is not an image that may be privileged", "privileged_images")
	case !rule.asItLikes:
		c.asItIs()
		s.SafeDirectory = false // the author's repository says which programs git runs
		s.Env = slices.DeleteFunc(s.Env, c.withhold)
		s.FromRun = slices.DeleteFunc(slices.Clone(s.FromRun), func(v pipeline.RunVariable) bool { return !isForPlugin(v.Name) })
	}
}

// withhold reports whether a variable must not reach a privileged image. It notes proxies, without
// which the image may not reach the network: they are missed, and nothing else would tell.
func (c *check) withhold(entry string) bool {
	name := nameOf(entry)
	if isForPlugin(name) || slices.Contains(c.rules.passed, entry) {
		return false
	}
	switch strings.ToLower(name) {
	case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
		c.step.Withheld = append(c.step.Withheld, name)
	}
	return true
}

// asItIs refuses the keys by which the pipeline decides what a privileged image runs.
func (c *check) asItIs() {
	s := c.step
	refuse := func(key string, given bool) {
		if given {
			c.deny(key, "with privileged", "a privileged image runs as it is", "privileged_images")
		}
	}
	refuse("commands", s.Script != nil)
	refuse("entrypoint", s.Entrypoint != nil)
	refuse("args", s.Args != nil)
	refuse("environment", slices.ContainsFunc(s.Authored, func(name string) bool { return !strings.HasPrefix(name, "PLUGIN_") }))
	refuse("secrets", len(s.SecretFiles) > 0)
	refuse("user", s.User != "")
	refuse("group_add", len(s.Security.Groups) > 0)
	refuse("stdin", s.Stdin != "")
	refuse("output", s.Output != "" && s.Output != pipeline.OutputNone)
	refuse("tty", s.Advanced.TTY)
	refuse("init", s.Advanced.Init)
	refuse("ready", s.Ready != nil && len(s.Ready.Exec) > 0)
	refuse("spec", s.Advanced.Spec != nil || s.Advanced.SpecPatch != nil)
	refuse("workspace", !isUsualWorkspace(c.plan.WorkspacePath))
	refuse("directory", s.Directory != "" && !isInside(path.Clean(s.Directory), c.plan.WorkspacePath))
	refuse("mounts", slices.ContainsFunc(s.Mounts, func(m pipeline.Mount) bool { return !c.isWorkspace(m) && !c.isOfRunner(m) }))
}

// isOfRunner reports whether a mount is one that the runner gives to every step.
func (c *check) isOfRunner(m pipeline.Mount) bool {
	return m.Type == "bind" && contains(c.rules.ofRunner, m.Source)
}

// isWorkspace reports whether a mount is the workspace, or another volume of the run, at the
// workspace's place.
func (c *check) isWorkspace(m pipeline.Mount) bool {
	isSource := m.Type == pipeline.MountVolume ||
		m.Type == "bind" && c.plan.WorkspaceSource != "" && m.Source == c.plan.WorkspaceSource
	return isSource && isUsualWorkspace(m.Destination)
}

// usualWorkspaces are where CI systems have the workspace. Elsewhere it could hide the
// programs of an image behind the pipeline's own.
var usualWorkspaces = []string{pipeline.DefaultWorkspace, "/woodpecker", "/drone/src", "/drone"}

func isUsualWorkspace(dir string) bool {
	return slices.ContainsFunc(usualWorkspaces, func(usual string) bool { return isInside(path.Clean(dir), usual) })
}

func isInside(dir, of string) bool { return of != "" && (dir == of || strings.HasPrefix(dir, of+"/")) }

// isForPlugin reports whether a variable may reach a privileged image. Others can make it
// run a program of the author's: LD_PRELOAD, BASH_ENV, PATH and more than any list has.
func isForPlugin(name string) bool {
	for _, prefix := range []string{"PLUGIN_", "CI_", "DRONE_", "STEPEXEC_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "CI" || name == "DRONE" || name == "STEPEXEC"
}

func nameOf(entry string) string {
	name, _, _ := strings.Cut(entry, "=")
	return name
}

// checkJoin holds more programs in a container against the policy: in one that is privileged
// because its image is, they would have all rights on the host.
func (p *Policy) checkJoin(s *pipeline.PlannedStep) Denials {
	if p.all {
		return nil
	}
	c := &check{Policy: p, step: s, plan: &pipeline.Plan{}}
	c.image, _ = pull.ParseReference(s.Image)
	if !c.image.IsLocal() {
		c.images()
	}
	free := func(i image) bool { return i.asItLikes && i.matches(c.image) }
	if s.Security.Privileged && !slices.ContainsFunc(p.rules.privilegedImages, free) {
		c.deny("privileged", "image "+s.Image, "no other program may run in a privileged image", "privileged_images")
	}
	return c.denials
}
