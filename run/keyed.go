package run

import (
	"cmp"
	"os"
	"path/filepath"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/settings"
)

// KeyedStore is the store of the keyed caches of a state root.
func KeyedStore(root string, s settings.Settings) *cache.Store {
	return cache.Open(filepath.Join(root, "keyed"), s.CacheLimitOrDefault())
}

// cacheScopes are the scopes of the keyed caches of a run. A run in CI of which nobody knows the
// event could be that of a pull request, and is taken for one.
func cacheScopes(f pipeline.Facts, dir string, eventKnown bool) cache.Scopes {
	o := cache.Origin{Repository: cmp.Or(f.Repo, dir), Event: f.Event, Branch: f.Branch, Tag: f.Tag, Ref: f.Ref, DefaultBranch: f.DefaultBranch}
	if f.Instance != "" {
		o.Repository = f.Instance + "/" + o.Repository
	}
	if !eventKnown {
		o.Event, o.Ref = "unknown", ""
	}
	return cache.ScopesOf(o)
}

// eventIsKnown reports whether somebody says what the run is for: a flag, a file, the variables of
// a CI server, or that there is no CI server and a person runs it.
func (f *FactSource) eventIsKnown() bool {
	ci := os.Getenv("CI")
	return f.Given.Event != "" || f.Metadata != "" || f.PullRequest != (PullRequest{}) || eventOfFlags(f.Given) != "" ||
		eventOfCI() != "" || ci == "" || ci == "false" || ci == "0"
}
