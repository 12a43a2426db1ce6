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

// A removal takes images and layers out of the store. It holds the lock of the records throughout.
// An image that is being pulled holds its layers until its record is saved, which takes the same
// lock. So every layer is either needed by a record that the removal sees, or held, or not needed.
type removal struct {
	store  *Store
	images []storedImage
	needs  map[string]int // number of records that need a directory, by key
	freed  Freed
	rest   []leftover
}

// A leftover was renamed into tmp and waits to be removed; its lock prevents anyone from unpacking
// it again until then.
type leftover struct {
	tmp    string
	unlock func() error
}

// remove lets choose take things out of the store. It then removes their files, which may take
// long, without the lock of the records.
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

// image removes a record, and the layers that no other record needs.
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

// unneeded removes everything that no record needs: layers, and records that were never finished.
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

// take renames a directory that nobody holds. The caller has the lock of its key, so anything at
// tmp was left by a dead process.
func take(path, tmp string) (taken bool, err error) {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // tells those who wait in hold that it is gone
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

// clear removes the files of everything that was taken. The renames reach the disk before the first
// file is removed: half a layer must not be back in its place after a power loss.
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
