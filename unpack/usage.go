package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An ImageUsage is the space that an image of the store takes up, and its last use.
type ImageUsage struct {
	ImageRecord
	Missing int       // layers that are not in the store, or were lost in a power loss
	Bytes   int64     // size of its layers and its fix-up layer on disk
	Shared  int64     // part of Bytes that other images use too
	Used    time.Time // start of the last run that used it, or its pull
	InUse   bool      // by a running process
}

// Usage returns the space that every image takes up, sorted by reference and platform. The first
// call looks at every file of each layer; the sums are stored beside the layers.
func (s *Store) Usage() ([]ImageUsage, error) {
	images, err := s.storedImages()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	owners := map[string]int{}
	for _, image := range images {
		for _, d := range s.imageDirectories(image.ImageRecord) {
			owners[d.key]++
		}
	}
	var all []ImageUsage
	for _, image := range images {
		u := ImageUsage{ImageRecord: image.ImageRecord, Used: image.used}
		for _, d := range s.imageDirectories(image.ImageRecord) {
			bytes, err := s.diskUsage(d)
			if err != nil {
				return nil, fmt.Errorf("measure image %s: %w", image.Reference, err)
			}
			u.Bytes += bytes
			if owners[d.key] > 1 {
				u.Shared += bytes
			}
		}
		for _, diffID := range image.DiffIDs() {
			if !s.Has(diffID) {
				u.Missing++
			}
		}
		if u.InUse, err = s.imageInUse(image.ImageRecord); err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		all = append(all, u)
	}
	return all, nil
}

// LayerBytes returns the space that the layers of all images take up together.
func (s *Store) LayerBytes() (int64, error) {
	images, err := s.storedImages()
	if err != nil {
		return 0, fmt.Errorf("list images: %w", err)
	}
	var total int64
	seen := map[string]bool{}
	for _, image := range images {
		for _, d := range s.imageDirectories(image.ImageRecord) {
			if seen[d.key] {
				continue
			}
			seen[d.key] = true
			bytes, err := s.diskUsage(d)
			if err != nil {
				return 0, fmt.Errorf("measure image %s: %w", image.Reference, err)
			}
			total += bytes
		}
	}
	return total, nil
}

func (s *Store) imageInUse(r ImageRecord) (bool, error) {
	unlock, free, err := s.tryLock(imageLock(r.Reference, r.Platform))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nobody has used it since it came
	}
	if err != nil || !free {
		return !free, err
	}
	return false, unlock()
}

// diskUsage returns the bytes that a layer takes up on disk, or 0 when it is not there. A layer
// never changes, so the sum is stored beside it.
func (s *Store) diskUsage(d directory) (int64, error) {
	path := filepath.Join(d.path, sizeFile)
	if data, err := os.ReadFile(path); err == nil {
		// The newline shows that all digits are there.
		digits, whole := strings.CutSuffix(string(data), "\n")
		bytes, err := strconv.ParseInt(digits, 10, 64)
		if whole && err == nil {
			return bytes, nil
		}
	}
	bytes, err := measure(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // removed, possibly just now
	}
	if err != nil {
		return 0, err
	}
	if s.look {
		return bytes, nil
	}
	// On a full disk the sum cannot be stored; it is then computed again the next time.
	_ = os.WriteFile(path, []byte(strconv.FormatInt(bytes, 10)+"\n"), 0o600)
	return bytes, nil
}

// measure adds up the blocks of all files; a file with several names counts once.
func measure(dir string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	const blockSize = 512 // stat(2), st_blocks
	bytes := st.Blocks * blockSize
	linked := map[uint64]bool{}
	err := walk(dir, func(v visited) error {
		if v.stat.Nlink > 1 && v.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			if linked[v.stat.Ino] {
				return nil
			}
			linked[v.stat.Ino] = true
		}
		bytes += v.stat.Blocks * blockSize
		return nil
	})
	return bytes, err
}
