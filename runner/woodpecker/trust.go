package woodpecker

import (
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/cache"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/policy"
)

// rules are what a workflow may ask for under no other policy. The protocol does not tell what
// the repository is trusted with. But the server has refused every key of the file that needs
// more than that, so a compiled workflow that has such a key proves the trust. What only the
// options for stepexec ask for proves nothing: no server looks at them.
func rules(c *workflows.Config, d workflows.Defaults) (*policy.Policy, error) {
	t := policy.Trust{HostNetwork: d.Network == "host"}
	for _, volume := range d.Volumes {
		if source, _, found := strings.Cut(volume, ":"); found && path.IsAbs(source) {
			t.Mounts = append(t.Mounts, source)
		}
	}
	for _, s := range c.Steps() {
		t.Network = t.Network || s.NetworkMode != "" && s.NetworkMode != "none"
		t.Volumes = t.Volumes || slices.ContainsFunc(s.Volumes, func(volume string) bool { return !isWorkspace(c, volume) })
		t.Devices = t.Devices || len(s.Devices) > 0
		switch {
		case !s.Privileged:
		case s.Type == workflows.TypePlugin: // the server's list may be why
			t.PrivilegedImages = append(t.PrivilegedImages, s.Image)
		default:
			t.Security = true
		}
	}
	return policy.FromServer(t)
}

// isWorkspace reports whether a volume is the workspace of the workflow.
func isWorkspace(c *workflows.Config, volume string) bool {
	source, _, found := strings.Cut(volume, ":")
	return found && source == c.Volume && source != ""
}

// source is what the server itself says about where a workflow comes from.
func source(c *workflows.Config) policy.Source {
	s := policy.Source{Repo: c.Told(workflows.LabelRepo), Event: c.Told(workflows.LabelEvent)}
	switch s.Event { // of others, such as pull_request, the branch is one that they are meant for
	case "push", "cron", "manual":
		s.Branch = c.Told(workflows.LabelCommitBranch)
	}
	return s
}

// cacheScopes are the scopes of a workflow's keyed caches, of which the labels of the server say
// less than variables do, but which no author of a workflow can set. A source that is of a branch
// reads and writes the caches of that branch. Any other, such as a pull request, reads those of the
// branch that it is meant for: whose it would write is not told. Repositories of other servers with
// the same name have other caches.
func cacheScopes(server string, c *workflows.Config) cache.Scopes {
	s := source(c)
	if s.Repo == "" || s.Event == "" {
		return cache.Scopes{}
	}
	o := cache.Origin{Repository: server + "/" + s.Repo, Event: s.Event, Branch: s.Branch}
	if s.Branch == "" {
		o.Event, o.Branch = "unknown", c.Told(workflows.LabelCommitBranch)
	}
	return cache.ScopesOf(o)
}
