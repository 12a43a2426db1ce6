package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// KeyedCaches is where keyed caches are stored, and whose the run may read and write.
type KeyedCaches struct {
	Open   func(store string) (CacheStore, error) // called from several goroutines; "" is this machine's
	Scopes cache.Scopes
}

// CacheStore is a store of keyed caches, as [cache.Store] and [cache.Remote] are.
type CacheStore interface {
	Restore(ctx context.Context, q cache.Query, into string, l cache.Limits) (got cache.Restored, found bool, err error)
	Save(ctx context.Context, item cache.Item, from string, l cache.Limits) error
}

// keyedUse is a keyed cache as an attempt at a step has it.
type keyedUse struct {
	cache  *pipeline.KeyedCache
	key    cache.Key // nil: it could not be made, and nothing is restored or saved
	folder string
	exact  bool // the whole key was found
}

// restoration restores the keyed caches of an attempt at a step while its image is pulled. A cache
// only saves work: whatever is wrong with it is a warning, and the step begins with an empty folder.
type restoration struct {
	caches []*restoring
	cancel context.CancelFunc
}

// restoring is one of them.
type restoring struct {
	use  keyedUse
	got  *event.CacheUse // nil: nothing was asked for, or the store failed
	err  error           // why there is no folder
	done chan struct{}   // closed once the others are final
}

// restoreCaches begins to restore the keyed caches of a step. The caller must call end.
func (r *run) restoreCaches(ctx context.Context, n *node) *restoration {
	ctx, cancel := context.WithCancel(ctx)
	all := &restoration{cancel: cancel}
	for i := range n.step.Caches {
		c := &restoring{use: keyedUse{cache: &n.step.Caches[i]}, done: make(chan struct{})}
		all.caches = append(all.caches, c)
		go func() {
			defer close(c.done)
			if crashed := r.protect(func() { c.err = r.restoreCache(ctx, n, c, fmt.Sprintf(".cache-%s-%d", n.sandboxID(), i)) }); crashed != nil {
				c.err = crashed
			}
		}()
	}
	return all
}

// end stops what still goes on, and waits for it.
func (a *restoration) end() {
	a.cancel()
	for _, c := range a.caches {
		<-c.done
	}
}

// folder waits for the folder of the cache at a path of the step, and notes its use.
func (a *restoration) folder(n *node, path string) (string, error) {
	i := slices.IndexFunc(a.caches, func(c *restoring) bool { return c.use.cache.Path == path })
	if i < 0 {
		return "", errors.New("the step has no such cache") // the planner puts each at its path
	}
	c := a.caches[i]
	<-c.done
	if c.err != nil {
		return "", c.err
	}
	n.work.keyed = append(n.work.keyed, c.use)
	if c.got != nil {
		n.result.Caches = append(n.result.Caches, *c.got)
	}
	return c.use.folder, nil
}

// restoreCache makes the folder of a cache, with what was saved under its key.
func (r *run) restoreCache(ctx context.Context, n *node, c *restoring, folder string) (err error) {
	if c.use.folder, err = r.o.Host.Volume(folder); err != nil || r.o.Keyed == nil {
		return err
	}
	config, err := r.imageConfig(ctx, n)
	if err != nil {
		return err // also of the step's image
	}
	asked := c.use.cache
	if c.use.key, err = r.cacheKey(ctx, n, asked, config); err != nil {
		r.warnCache(n, asked, err)
		return nil
	}
	if asked.Mode == pipeline.CacheWrite {
		return nil
	}
	r.saves.await(ctx, asked.Name)
	query := cache.Query{Scopes: r.o.Keyed.Scopes, Name: asked.Name, Key: c.use.key, Fallback: asked.Fallback, MaxAge: asked.MaxAge}
	store, err := r.o.Keyed.Open(asked.Store)
	var got cache.Restored
	var found bool
	if err == nil {
		got, found, err = store.Restore(ctx, query, c.use.folder, cache.Limits{Bytes: asked.MaxSize})
	}
	if err != nil {
		if ctx.Err() == nil {
			r.warnCache(n, asked, fmt.Errorf("not restored: %w", err))
		}
		if err := beneath.RemoveAll(c.use.folder); err != nil {
			return err
		}
		_, err = r.o.Host.Volume(folder)
		return err
	}
	c.use.exact = found && got.Exact
	use := cacheResult(asked, got, found)
	c.got = &use
	return nil
}

func cacheResult(c *pipeline.KeyedCache, got cache.Restored, found bool) event.CacheUse {
	use := event.CacheUse{Name: c.Name, Restored: "nothing"}
	if found {
		use.Restored, use.Files, use.Bytes = "part of the key", got.Entry.Files, got.Entry.Bytes
		if got.Exact {
			use.Restored = "whole key"
		}
	}
	return use
}

// cacheKey makes the key of a cache at the turn of its step.
func (r *run) cacheKey(ctx context.Context, n *node, c *pipeline.KeyedCache, config *ocispec.Image) (cache.Key, error) {
	var key cache.Key
	for i := range c.Key {
		part, value := &c.Key[i], ""
		switch {
		case part.Checksum != nil:
			var err error
			if value, err = r.checksum(ctx, n, part.Checksum); err != nil {
				return nil, fmt.Errorf("%v: %w", part, err)
			}
		case part.Env != "":
			var found bool
			if value, found = lookUp(part.Env, n.step.Env, n.work.inherited, config.Config.Env); !found {
				r.warnCache(n, c, fmt.Errorf("the step has no variable %s, which its key takes as empty (is the name right?)", part.Env))
			}
		case part.Platform == "os":
			value = config.OS
		case part.Platform == "arch":
			value = path.Join(config.Architecture, config.Variant)
		default:
			value = part.Text
		}
		key = append(key, cache.Part(part.String(), value))
	}
	return key, nil
}

func (r *run) checksum(ctx context.Context, n *node, texts []string) (string, error) {
	patterns, err := artifact.ParsePatterns(texts)
	if err != nil {
		return "", err
	}
	workspace, err := r.openWorkspace(n)
	if err != nil {
		return "", fmt.Errorf("open the workspace: %w", err)
	}
	defer workspace.Close()
	sum, files, err := artifact.Checksum(ctx, workspace, patterns, artifact.Limits{})
	if err == nil && files == 0 {
		err = errors.New("no file matches")
	}
	return sum, err
}
