package unpack

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stepexec/stepexec/beneath"
)

// A removal takes images and layers out of the store. It holds the lock of the records meanwhile: an image that
// is being pulled holds its layers until its record is saved, which takes that lock. So every layer is needed
// by a record that the removal sees, or held, or needed by nobody.
type removal struct {
	store  *Store
	images []storedImage
	needs  map[string]int // how many records need a directory, by key
	freed  Freed
	rest   []leftover
}

// A leftover was renamed into tmp and waits to be removed; its lock keeps it from being unpacked again meanwhile.
type leftover struct {
	tmp    string
	unlock func() error
}

// remove lets choose take things out of the store, and then removes their files, which may take long, without the
// lock of the records.
func (s *Store) remove(ctx context.Context, choose func(*removal) error) (Freed, error) {
	r := &removal{store: s, needs: map[string]int{}}
	unlock, err := s.lock(ctx, imagesLock)
	if err != nil {
		return r.freed, err
	}
	if err = r.look(); err == nil {
		err = choose(r)
	}
	return r.freed, errors.Join(err, unlock(), r.clear(ctx))
}

func (r *removal) look() (err error) {
	if r.images, err = r.store.storedImages(); err != nil {
		return err
	}
	for _, image := range r.images {
		for _, d := range r.store.imageDirectories(image.ImageRecord) {
			r.needs[d.key]++
		}
	}
	return r.pinned()
}

// image removes a record, and the layers that no other one needs.
func (r *removal) image(image storedImage) error {
	s := r.store
	unlock, free, err := s.tryLock(imageLock(image.Reference, image.Platform))
	if err != nil {
		return err
	}
	if !free {
		r.freed.InUse = append(r.freed.InUse, image.ImageRecord)
		return ErrInUse
	}
	err = errors.Join(os.Remove(s.imagePath(image.Reference, image.Platform)), unlock())
	if err != nil {
		return err
	}
	r.freed.Images = append(r.freed.Images, image.ImageRecord)
	for _, d := range s.imageDirectories(image.ImageRecord) {
		if r.needs[d.key]--; r.needs[d.key] > 0 {
			continue
		}
		if err := r.directory(d); err != nil {
			return err
		}
	}
	return nil
}

// unneeded removes what no record needs: layers, and records that were never finished.
func (r *removal) unneeded() error {
	all, err := r.store.directories()
	if err != nil {
		return err
	}
	for _, d := range all {
		if r.needs[d.key] > 0 {
			continue
		}
		if err := r.directory(d); err != nil {
			return err
		}
	}
	records, err := os.ReadDir(filepath.Join(r.store.root, "images"))
	if err != nil {
		return err
	}
	for _, e := range records {
		if !strings.HasSuffix(e.Name(), newSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(r.store.root, "images", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// directory takes a layer out of the store, unless somebody unpacks or uses it.
func (r *removal) directory(d directory) error {
	s := r.store
	bytes, err := s.diskUsage(d)
	if err != nil {
		return err
	}
	unlock, free, err := s.tryLock(d.key)
	if err != nil || !free {
		return err
	}
	tmp := filepath.Join(s.root, "tmp", d.key)
	taken, err := take(d.path, tmp)
	if err != nil || !taken {
		return errors.Join(err, unlock())
	}
	r.freed.Layers++
	r.freed.Bytes += bytes
	r.rest = append(r.rest, leftover{tmp, unlock})
	return nil
}

// take renames a directory that nobody holds. The caller has the lock of its key, so what is at tmp is what a
// dead process left.
func take(path, tmp string) (taken bool, err error) {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // lets those in hold find out that it is gone
	free, err := tryFlock(dir)
	if err != nil || !free {
		return false, err
	}
	if err := beneath.RemoveAll(tmp); err != nil {
		return false, err
	}
	if err := os.Rename(path, tmp); err != nil {
		return false, err
	}
	return true, nil
}

// clear removes the files of what was taken. The renames are on disk before the first file goes: half a layer
// must not be back at its place after a power loss.
func (r *removal) clear(ctx context.Context) error {
	if len(r.rest) == 0 {
		return nil
	}
	failed := []error{}
	for _, dir := range []string{"images", "layers/sha256", "fixups", "tmp"} {
		failed = append(failed, syncDir(filepath.Join(r.store.root, dir)))
	}
	synced := errors.Join(failed...) == nil
	for _, left := range r.rest {
		if synced && ctx.Err() == nil {
			failed = append(failed, beneath.RemoveAll(left.tmp))
		}
		failed = append(failed, left.unlock())
	}
	if ctx.Err() != nil {
		failed = append(failed, context.Cause(ctx))
	}
	return errors.Join(failed...)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
