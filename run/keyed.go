package run

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/registry"
	"github.com/stepexec/stepexec/cache/s3"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/settings"
)

// KeyedStore is the store of the keyed caches of a state root.
func KeyedStore(root string, s settings.Settings) *cache.Store {
	return cache.Open(filepath.Join(root, "keyed"), s.CacheLimitOrDefault())
}

// RemoteStore is a store of keyed caches that machines share: a repository of a registry, or
// s3://BUCKET/PREFIX. The credentials are those of stepexec's own environment and of docker's
// configuration, whatever a pipeline has. The caller closes the store.
func RemoteStore(name, root string, s settings.Settings) (*cache.Remote, error) {
	var depot cache.Depot
	var err error
	if strings.HasPrefix(name, "s3://") {
		depot, err = s3.Open(name)
	} else {
		depot, err = registry.Open(name, pull.Options{Registries: s.Registries})
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	remote := cache.NewRemote(name, depot, filepath.Join(root, "keyed", "upload"), cache.Patience{})
	if s.CacheKey == "" {
		return remote, nil
	}
	key, err := cache.ReadSharedKey(s.CacheKey)
	if err != nil {
		remote.Close()
		return nil, fmt.Errorf("store %s: read the cache_key of the settings: %w", name, err)
	}
	remote.SealWith(key)
	return remote, nil
}

// keyedStores are the stores of the keyed caches of one run, each opened once.
type keyedStores struct {
	root     string
	settings settings.Settings

	mu      sync.Mutex
	remotes map[string]*cache.Remote
}

func (k *keyedStores) open(name string) (engine.CacheStore, error) {
	if name == "" {
		return KeyedStore(k.root, k.settings), nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if opened := k.remotes[name]; opened != nil {
		return opened, nil
	}
	remote, err := RemoteStore(name, k.root, k.settings)
	if err != nil {
		return nil, err
	}
	if k.remotes == nil {
		k.remotes = map[string]*cache.Remote{}
	}
	k.remotes[name] = remote
	return remote, nil
}

func (k *keyedStores) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, remote := range k.remotes {
		remote.Close()
	}
}

// FactScopes are the scopes of the keyed caches of a pipeline whose facts a CI server says, such as
// Drone's. Without an event it is taken for a pull request of an unknown ref.
func FactScopes(f pipeline.Facts) cache.Scopes { return cacheScopes(f, "", f.Event != "") }

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
	return f.Given.Event != "" || f.Metadata != "" || f.eventOfFlags() != "" ||
		eventOfCI() != "" || ci == "" || ci == "false" || ci == "0"
}
