package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// saves are the caches of a run that are being saved. A step that has a cache of a name waits until
// those of that name are saved, because it may be after the step that leaves it.
type saves struct {
	mu     sync.Mutex
	byName map[string][]chan struct{} // each is closed once one is saved
	all    sync.WaitGroup
}

// begin notes that a cache of a name is being saved until end is called.
func (s *saves) begin(name string) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string][]chan struct{}{}
	}
	saved := make(chan struct{})
	s.byName[name] = append(s.byName[name], saved)
	return func() { close(saved) }
}

// await waits until the caches of a name are saved that steps before have left, or ctx ends.
func (s *saves) await(ctx context.Context, name string) {
	s.mu.Lock()
	saving := slices.Clone(s.byName[name])
	s.mu.Unlock()
	for _, saved := range saving {
		select {
		case <-saved:
		case <-ctx.Done():
			return
		}
	}
}

// saveCaches saves the keyed caches of a step that has succeeded, while the next steps run. Its
// processes are dead, and no other step has its folders.
func (r *run) saveCaches(n *node, how outcome) {
	if how.status != event.Succeeded || r.o.Keyed == nil || r.o.Keyed.Scopes.Write == "" {
		return
	}
	for _, use := range n.work.keyed {
		if use.key == nil || use.exact || use.cache.Mode == pipeline.CacheRead {
			continue
		}
		end := r.saves.begin(use.cache.Name)
		r.saves.all.Go(func() {
			defer end()
			var err error
			if crashed := r.protect(func() { err = r.saveCache(&use) }); crashed != nil {
				err = crashed
			}
			if err != nil {
				r.warnCache(n, use.cache, fmt.Errorf("not saved: %w", err))
			}
		})
	}
}

// saveCache saves a cache, unless the run is interrupted meanwhile: whoever does that wants an end now,
// and the next run can make the cache again.
func (r *run) saveCache(use *keyedUse) error {
	ctx, cancel := context.WithCancelCause(r.life.always)
	defer cancel(nil)
	defer context.AfterFunc(r.interrupt, func() { cancel(context.Cause(r.interrupt)) })()
	store, err := r.o.Keyed.Open(use.cache.Store)
	if err != nil {
		return err
	}
	scopes := r.o.Keyed.Scopes
	item := cache.Item{Scope: scopes.Write, Share: scopes.Share, Name: use.cache.Name, Key: use.key, MaxAge: use.cache.MaxAge}
	err = store.Save(ctx, item, use.folder, cache.Limits{Bytes: use.cache.MaxSize})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *run) warnCache(n *node, c *pipeline.KeyedCache, err error) {
	text := strings.TrimSpace(err.Error())
	r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: r.mask.String(fmt.Sprintf("cache %s: %s", c.Name, text))})
}
