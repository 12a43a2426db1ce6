package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// An intake is what a command unpacks into the store. When all is unpacked,
// people are told what could not be kept of it, and the store is brought below
// its limit.
type intake struct {
	store         *unpack.Store
	limit         int64 // of the store, in bytes; 0: none
	root, runtime string
	say           func(line string)

	mu     sync.Mutex
	layers map[string][]digest.Digest // that were unpacked, by image
}

// TakeIn opens the machine's store and has into put images into it, which are on disk when
// TakeIn returns. The fetcher reports to events.
func TakeIn(ctx context.Context, m Machine, platform string, events func(event.Event), into func(*fetch.Fetcher) error) (err error) {
	root := m.Sandbox.Root
	store, err := OpenStore(root, m.Settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	in := &intake{store: store, limit: m.Settings.StoreLimit, root: root, runtime: m.Sandbox.Runtime, say: m.say}
	if err := into(&fetch.Fetcher{Store: store, Platform: platform, Progress: in.progress, Events: events}); err != nil {
		in.tell() // of the images that are there all the same
		return err
	}
	if err := store.Settle(); err != nil {
		return err
	}
	in.end(ctx)
	return nil
}

// progress is for fetch.Fetcher.
func (in *intake) progress(image string, p unpack.Progress) {
	if p.State != unpack.Done {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.layers == nil {
		in.layers = map[string][]digest.Digest{}
	}
	in.layers[image] = append(in.layers[image], p.Layer)
}

// end is called when nothing is unpacked any more and nothing urgent waits.
// What goes wrong is said: the images are there all the same.
func (in *intake) end(ctx context.Context) {
	in.tell()
	if len(in.layers) == 0 || in.limit == 0 || ctx.Err() != nil {
		return
	}
	if err := in.shrink(ctx); err != nil {
		in.say(fmt.Sprintf("warning: store limit %s: %v", units.HumanSize(float64(in.limit)), err))
	}
}

// tell says of each image what could not be kept of it.
func (in *intake) tell() {
	for _, image := range slices.Sorted(maps.Keys(in.layers)) {
		in.sayLost(image, in.layers[image])
	}
}

// sayLost says what could not be kept of an image's layers, in a few lines.
func (in *intake) sayLost(image string, layers []digest.Digest) {
	var lost []string
	for _, layer := range layers {
		warnings, err := in.store.Warnings(layer)
		if err != nil {
			warnings = []string{err.Error()}
		}
		for _, text := range warnings {
			if !slices.Contains(lost, text) { // several layers may have the same to say
				lost = append(lost, text)
			}
		}
	}
	const most = 3
	for _, text := range lost[:min(len(lost), most)] {
		in.say(fmt.Sprintf("warning: image %s: %s", image, text))
	}
	if more := len(lost) - most; more > 0 {
		in.say(fmt.Sprintf("warning: image %s: %d more like that", image, more))
	}
}

// shrink removes the least recently used images until the store is below its
// limit. What this process uses is held by its own store, and stays.
func (in *intake) shrink(ctx context.Context) error {
	if err := ClearDeadRuns(ctx, in.root, in.runtime); err != nil {
		return err
	}
	freed, err := in.store.Shrink(ctx, in.limit)
	if freed.Layers == 0 && len(freed.Images) == 0 {
		return err
	}
	removed := []string{}
	for _, i := range freed.Images {
		removed = append(removed, fmt.Sprintf("%s (%s)", i.Reference, i.Platform))
	}
	if len(removed) == 0 {
		removed = append(removed, "layers that no image needs")
	}
	in.say(fmt.Sprintf("store limit %s: removed %s, freed %s", units.HumanSize(float64(in.limit)),
		strings.Join(removed, ", "), units.HumanSize(float64(freed.Bytes))))
	return err
}

// ClearDeadRuns clears away what killed runs left. It goes before layers are removed: their
// containers may still run, and nobody holds the layers that these have mounted.
func ClearDeadRuns(ctx context.Context, root, runtime string) error {
	_, err := sandbox.Reap(ctx, sandbox.Options{Root: root, Runtime: runtime})
	return err
}
