package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
)

// KeyedCaches is where keyed caches are stored, and whose the run may read and write.
type KeyedCaches struct {
	Store  *cache.Store
	Scopes cache.Scopes
}

func (k *KeyedCaches) item(use *keyedUse) cache.Item {
	return cache.Item{Scope: k.Scopes.Write, Share: k.Scopes.Share, Name: use.cache.Name, Key: use.key, MaxAge: use.cache.MaxAge}
}

// keyedUse is a keyed cache as an attempt at a step has it.
type keyedUse struct {
	cache  *pipeline.KeyedCache
	key    cache.Key // nil: it could not be made, and nothing is restored or saved
	folder string
	exact  bool // the whole key was found
}

// saves are the caches of a run that are being saved. A step that has a cache of a name waits until
// those of that name are saved, because it may be after the step that leaves it.
type saves struct {
	mu     sync.Mutex
	byName map[string]*sync.RWMutex // read-locked while one is saved
	all    sync.WaitGroup
}

func (s *saves) of(name string) *sync.RWMutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string]*sync.RWMutex{}
	}
	if s.byName[name] == nil {
		s.byName[name] = &sync.RWMutex{}
	}
	return s.byName[name]
}

// await waits until the caches of a name are saved that steps before have left.
func (s *saves) await(name string) {
	saving := s.of(name)
	saving.Lock()
	defer saving.Unlock()
}

// keyedFolder makes the folder of a keyed cache, with what was saved under its key. A cache only
// saves work: whatever is wrong with it is a warning, and the step begins with an empty folder.
func (r *run) keyedFolder(ctx context.Context, n *node, c *pipeline.KeyedCache, image *fetch.Image) (folder string, err error) {
	name := fmt.Sprintf(".cache-%s-%d", n.sandboxID(), len(n.work.keyed))
	if folder, err = r.o.Host.Volume(name); err != nil {
		return "", err
	}
	use := keyedUse{cache: c, folder: folder}
	defer func() { n.work.keyed = append(n.work.keyed, use) }()
	if r.o.Keyed == nil {
		return folder, nil
	}
	if use.key, err = r.cacheKey(ctx, n, c, image); err != nil {
		r.warnCache(n, c, err)
		return folder, nil
	}
	if c.Mode == pipeline.CacheWrite {
		return folder, nil
	}
	r.saves.await(c.Name)
	query := cache.Query{Scopes: r.o.Keyed.Scopes, Name: c.Name, Key: use.key, Fallback: c.Fallback, MaxAge: c.MaxAge}
	got, found, err := r.o.Keyed.Store.Restore(ctx, query, folder, cache.Limits{Bytes: c.MaxSize})
	if err != nil {
		r.warnCache(n, c, fmt.Errorf("not restored: %w", err))
		if err := beneath.RemoveAll(folder); err != nil {
			return "", err
		}
		return r.o.Host.Volume(name)
	}
	use.exact = found && got.Exact
	n.result.Caches = append(n.result.Caches, cacheResult(c, got, found))
	return folder, nil
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
func (r *run) cacheKey(ctx context.Context, n *node, c *pipeline.KeyedCache, image *fetch.Image) (cache.Key, error) {
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
			value = variable(part.Env, n.step.Env, n.work.inherited, image.Config.Config.Env)
		case part.Platform == "os":
			value = image.Config.OS
		case part.Platform == "arch":
			value = path.Join(image.Config.Architecture, image.Config.Variant)
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

// saveCaches saves the keyed caches of a step that has succeeded, while the next steps run. Its
// processes are dead, and no other step has its folders.
func (r *run) saveCaches(n *node, end outcome) {
	if end.status != event.Succeeded || r.o.Keyed == nil || r.o.Keyed.Scopes.Write == "" {
		return
	}
	for _, use := range n.work.keyed {
		if use.key == nil || use.exact || use.cache.Mode == pipeline.CacheRead {
			continue
		}
		saving := r.saves.of(use.cache.Name)
		saving.RLock()
		r.saves.all.Go(func() {
			defer saving.RUnlock()
			var err error
			if crashed := r.protect(func() {
				err = r.o.Keyed.Store.Save(r.life.always, r.o.Keyed.item(&use), use.folder, cache.Limits{Bytes: use.cache.MaxSize})
			}); crashed != nil {
				err = crashed
			}
			if err != nil {
				r.warnCache(n, use.cache, fmt.Errorf("not saved: %w", err))
			}
		})
	}
}

func (r *run) warnCache(n *node, c *pipeline.KeyedCache, err error) {
	text := strings.TrimSpace(err.Error())
	r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: r.mask.String(fmt.Sprintf("cache %s: %s", c.Name, text))})
}
