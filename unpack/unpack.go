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
	Waiting   State = "waiting"   // another goroutine or process may be at it
	Unpacking State = "unpacking" // Bytes of Total are read
	Done      State = "done"      // verified and in the store
	Present   State = "present"   // was there, or another process brought it
)

// Progress tells how far a layer is.
type Progress struct {
	Layer digest.Digest // diffID
	Bytes int64         // compressed bytes read
	Total int64         // compressed bytes, -1 unknown
	State State
}

// maxLayers bounds the layers that are unpacked at once, and with them memory: see the package comment.
const maxLayers = 16

// progressStep is the number of compressed bytes between two reports of one layer: on a link of 300 kB/s there are
// still several a second, and on a fast one they cost nothing beside the unpacking.
const progressStep = 64 << 10

// Unpack makes all layers of an image present, in parallel, and returns the directories to mount as overlay
// lowerdirs, lowest first; a layer that comes twice is mounted once, and the fix-up layer, when there is one,
// is the last. A step's own upper directory covers the root of them all: give it the metadata of the last one's.
// The layers are listed lowest first. The calls of progress, which may be nil, do not overlap; the first ones tell
// of every layer that is not there, so that the whole is known from the start.
//
// After an error, which ends all of it, layers that were complete stay and nothing else does. The error is or
// wraps a *DigestError, *SizeError, *EntryError, ErrTooLarge, ENOSPC, the context's, or one of a layer's Open.
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

// missing are the layers that the store lacks, each once.
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

// largestFirst returns the layers in the order of work: the largest one, begun last, would be alone at the end.
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
				if bytes-p.Bytes >= progressStep {
					p.Bytes = bytes
					report(p)
				}
			})
		})
	}
	built, err := build()
	// A damaged layer goes to its next source by itself: to begin anew with all layers would let each
	// mirror spoil the attempt with another one. Once ctx has ended, the DigestError may be its cause,
	// which is another layer's, and each further attempt would end with it.
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
	defer func() { // now, for what has been written is removed before anyone explains the error
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

// explain says what to do about a full disk, and about limits of its file system.
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

// outOfInodes reports whether it is inodes that are missing, not blocks.
func outOfInodes(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Files > 0 && st.Ffree == 0 && st.Bavail > 0
}
