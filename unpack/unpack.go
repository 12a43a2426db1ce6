package unpack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// A State is where a layer is on its way into the store.
type State string

// The states of a layer. A layer starts with Waiting or Present and ends with Present or Done.
const (
	Waiting   State = "waiting"   // another goroutine or process may be working on it
	Unpacking State = "unpacking" // Bytes of Total have been read
	Done      State = "done"      // verified and in the store
	Present   State = "present"   // already there, or brought by another process
)

// Progress reports the state of one layer.
type Progress struct {
	Layer digest.Digest // diffID
	Bytes int64         // compressed bytes read
	Total int64         // compressed bytes; -1 when unknown
	State State
}

// maxLayers bounds the number of layers that are unpacked at once, and thereby memory: see the
// package comment.
const maxLayers = 16

// progressStep is the number of compressed bytes between two reports of one layer. At 300 kB/s
// there are still several reports a second, and on a fast link they cost nothing next to the
// unpacking.
const progressStep = 64 << 10

// Unpack makes all layers of an image present, in parallel, and returns the directories to mount as
// overlay lowerdirs, lowest first. A layer that occurs twice is mounted once; the fix-up layer, if
// there is one, comes last. A step's own upper directory covers the root of all of them: give it
// the metadata of the last one's root. layers is in order, lowest first. The calls of progress,
// which may be nil, do not overlap. The first calls report every layer that is missing, so that the
// total is known from the start.
//
// An error ends all of the work. Layers that were complete by then stay; nothing else does. The
// error is or wraps a *DigestError, a *SizeError, an *EntryError, ErrTooLarge, ENOSPC, the
// context's error, or an error of a layer's Open.
func (s *Store) Unpack(ctx context.Context, layers []Layer, progress func(Progress)) ([]string, error) {
	diffIDs := make([]digest.Digest, len(layers))
	for i, l := range layers {
		if err := l.validate(); err != nil {
			return nil, fmt.Errorf("unpack layer %d: %w", i+1, err)
		}
		diffIDs[i] = l.DiffID
	}
	report := serialise(progress)
	for _, l := range missing(s, layers) {
		report(Progress{Layer: l.DiffID, Total: l.Size, State: Waiting})
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxLayers))
	started := map[digest.Digest]bool{}
	for _, l := range largestFirst(layers) {
		if started[l.DiffID] {
			continue
		}
		started[l.DiffID] = true
		group.Go(func() (err error) {
			defer crash.Recover(&err)
			return s.unpackLayer(groupCtx, l, report)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s.fixUp(ctx, diffIDs)
}

// missing returns the layers that the store lacks, each once.
func missing(s *Store, layers []Layer) []Layer {
	var all []Layer
	for _, l := range layers {
		isListed := slices.ContainsFunc(all, func(other Layer) bool { return other.DiffID == l.DiffID })
		if !isListed && !s.trusted(s.layerDir(l.DiffID)) {
			all = append(all, l)
		}
	}
	return all
}

// largestFirst returns the layers in the order of work. If the largest one were begun last, it
// would be working alone at the end.
func largestFirst(layers []Layer) []Layer {
	return slices.SortedStableFunc(slices.Values(layers), func(a, b Layer) int { return cmp.Compare(b.Size, a.Size) })
}

func (l Layer) validate() error {
	if err := validate(l.DiffID); err != nil {
		return err
	}
	if l.Digest == "" {
		return nil
	}
	return validate(l.Digest)
}

func serialise(progress func(Progress)) func(Progress) {
	if progress == nil {
		return func(Progress) {}
	}
	var mu sync.Mutex
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		progress(p)
	}
}

func (s *Store) unpackLayer(ctx context.Context, l Layer, report func(Progress)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	final := s.layerDir(l.DiffID)
	p := Progress{Layer: l.DiffID, Total: l.Size, State: Waiting}
	read := int64(0)
	build := func() (built bool, err error) {
		return s.build(ctx, l.DiffID.Encoded(), final, func(tmp string) error {
			p.State, p.Bytes = Unpacking, 0
			report(p)
			return s.fill(ctx, l, tmp, func(bytes int64) {
				read = bytes
				if more := bytes - p.Bytes; more >= progressStep {
					s.disk.add(more)
					p.Bytes = bytes
					report(p)
				}
			})
		})
	}
	built, err := build()
	// A damaged layer moves to its next source by itself: if all layers began anew, each mirror
	// could spoil the attempt with another one. Once ctx has ended, the DigestError may be another
	// layer's, as the cause of ctx, and every further attempt would end with it.
	for ctx.Err() == nil && errors.As(err, new(*DigestError)) && l.Again != nil && l.Again() {
		built, err = build()
	}
	if err != nil {
		return fmt.Errorf("unpack layer %s: %w", l.DiffID, s.explain(err))
	}
	p.State = Present
	if built {
		p.State = Done
		p.Bytes = read
	}
	report(p)
	return nil
}

// fill unpacks the layer into tmp.
func (s *Store) fill(ctx context.Context, l Layer, tmp string, progress func(bytes int64)) (err error) {
	defer func() { // now, because the written files are removed before anyone explains the error
		if errors.Is(err, unix.ENOSPC) && outOfInodes(tmp) {
			err = fmt.Errorf("%w: %w", errInodes, err)
		}
	}()
	format, err := s.format()
	if err != nil {
		return err
	}
	t, err := s.newTree(l.DiffID, tmp, format, l.small())
	if err != nil {
		return err
	}
	defer t.close()
	if t.recipe, err = newRecorder(tmp); err != nil {
		return err
	}
	if err := l.stream(ctx, t, progress); err != nil {
		return err
	}
	if err := t.recipe.finish(); err != nil {
		return err
	}
	return t.notes.write(tmp)
}

// explain adds advice about a full disk, or about limits of its file system.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, unix.EMLINK):
		return fmt.Errorf("%w: the file system of %s allows no more hard links to one file (65,000 on ext4): keep layers as images (--layer-format erofs), or choose a state directory on xfs or btrfs (--root)", err, s.root)
	case errors.Is(err, errInodes):
		return fmt.Errorf("%w: the file system of %s has space but no free inodes, so no more files: remove images (stepexec prune), keep layers as images (--layer-format erofs), or choose another state directory (--root)", err, s.root)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: the disk of %s is full: free space there (stepexec prune), or choose another state directory (--root)", err, s.root)
	}
	return err
}

// outOfInodes reports whether the file system lacks inodes rather than blocks.
func outOfInodes(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Files > 0 && st.Ffree == 0 && st.Bavail > 0
}
