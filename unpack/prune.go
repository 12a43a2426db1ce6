package unpack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrInUse says that a running process uses the image.
var ErrInUse = errors.New("image is in use")

// PruneOptions say which images Prune removes. The zero value removes none.
type PruneOptions struct {
	All       bool          // all images
	OlderThan time.Duration // images not used for this long; 0: none
	KeepBytes int64         // least recently used images until the store is no larger than this; 0: none
}

// Freed reports what was removed from the store.
type Freed struct {
	Images []ImageRecord
	InUse  []ImageRecord // selected for removal, but used by a running process
	Layers int           // number of layers, including fix-up layers
	Bytes  int64         // size of the layers on disk
}

// Prune removes images as the options say, least recently used first, and then every layer, fix-up
// layer and temporary file that no image needs. Anything that a running process uses or is
// unpacking stays. When Prune returns early or is killed, whatever it had begun to remove counts as
// gone, and the next OpenStore removes the rest.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Freed, error) {
	wrap := func(err error) error { return fmt.Errorf("prune layer store %s: %w", s.root, err) }
	total, err := s.totalUsage()
	if err != nil {
		return Freed{}, wrap(err)
	}
	freed, err := s.remove(ctx, func(r *removal) error {
		if err := r.unneeded(); err != nil {
			return err
		}
		slices.SortStableFunc(r.images, func(a, b storedImage) int { return a.used.Compare(b.used) })
		for _, image := range slices.Clone(r.images) {
			old := o.OlderThan > 0 && time.Since(image.used) > o.OlderThan
			over := o.KeepBytes > 0 && total-r.freed.Bytes > o.KeepBytes
			if !o.All && !old && !over {
				continue
			}
			if err := r.image(image); err != nil && !errors.Is(err, ErrInUse) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return freed, wrap(err)
	}
	return freed, nil
}

// Shrink removes the least recently used images while the store is larger than bytes, and otherwise
// does nothing: see Prune.
func (s *Store) Shrink(ctx context.Context, bytes int64) (Freed, error) {
	total, err := s.totalUsage()
	if err != nil {
		return Freed{}, fmt.Errorf("prune layer store %s: %w", s.root, err)
	}
	if total <= bytes {
		return Freed{}, nil
	}
	return s.Prune(ctx, PruneOptions{KeepBytes: bytes})
}

// totalUsage returns the bytes that all layers and fix-up layers take up on disk. Call it without
// holding a lock: the first call takes long.
func (s *Store) totalUsage() (int64, error) {
	all, err := s.directories()
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, d := range all {
		bytes, err := s.diskUsage(d)
		if err != nil {
			return 0, err
		}
		total += bytes
	}
	return total, nil
}

// RemoveImage removes the records of the reference (of all platforms when platform is ""), and
// those of their layers that no other image needs and no process uses. It returns ErrNotFound, or
// ErrInUse when a running process uses the image, which then stays.
func (s *Store) RemoveImage(ctx context.Context, reference, platform string) (Freed, error) {
	freed, err := s.remove(ctx, func(r *removal) error {
		found := slices.DeleteFunc(slices.Clone(r.images), func(i storedImage) bool {
			return i.Reference != reference || platform != "" && i.Platform != platform
		})
		if len(found) == 0 {
			return ErrNotFound
		}
		for _, image := range found {
			if err := r.image(image); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return freed, fmt.Errorf("remove image %s: %w", reference, err)
	}
	return freed, nil
}
