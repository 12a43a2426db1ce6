package unpack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/stepexec/stepexec/signature"
)

const (
	imagesLock = "images" // key of the lock that every change of a record takes
	newSuffix  = ".new"   // suffix of a record that is being written
)

// An ImageRecord lists the layers of a pulled image, so that its next use needs no network. It does
// not say that they are in the store: ask Store.Lowerdirs.
type ImageRecord struct {
	Reference string        `json:"reference"`      // resolved, such as docker.io/library/golang:1.26
	Platform  string        `json:"platform"`       // such as linux/amd64
	Root      digest.Digest `json:"root,omitempty"` // of what the reference names, an index maybe; "" when unknown
	Manifest  digest.Digest `json:"manifest"`
	Config    []byte        `json:"config"` // the image's configuration, byte for byte: its digest is the image's id
	Layers    []RecordLayer `json:"layers"` // lowest first
	Pulled    time.Time     `json:"pulled"`
	Private   bool          `json:"private,omitempty"` // pulled with credentials, so possibly not for everyone
	// Signatures are the signatures that the image was accepted with. They are stored so that they
	// can be verified again under the rules of a later day; they prove nothing by themselves.
	Signatures []signature.Evidence `json:"signatures,omitempty"`
}

// A RecordLayer is one layer of an ImageRecord.
type RecordLayer struct {
	DiffID digest.Digest `json:"diffID"`
	Digest digest.Digest `json:"digest,omitempty"` // of the compressed stream; "" when unknown
	Size   int64         `json:"size"`             // compressed bytes, -1 when unknown
}

// SaveImage stores the record in place of an earlier one with the same reference and platform. A
// reader sees the old record or the new one, never a part of it. SaveImage waits, until ctx ends,
// for a process that removes images.
func (s *Store) SaveImage(ctx context.Context, record ImageRecord) (err error) {
	wrap := func(err error) error { return fmt.Errorf("save record of image %s: %w", record.Reference, err) }
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return wrap(err)
	}
	// The lock allows a fixed name for the temporary file, so a killed process leaves at most one.
	unlock, err := s.lock(ctx, imagesLock)
	if err != nil {
		return wrap(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path := s.imagePath(record.Reference, record.Platform)
	if old, err := readImage(path); err == nil && sameImage(old, record) {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil {
			return wrap(err)
		}
		return nil // every run looks at an image in a folder, and writing an unchanged record costs 4 ms or more
	}
	if err := writeSynced(path+newSuffix, data); err != nil {
		return wrap(err)
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return wrap(err)
	}
	return nil
}

// sameImage reports whether two records differ at most in their pull time.
func sameImage(a, b ImageRecord) bool {
	a.Pulled = b.Pulled
	return reflect.DeepEqual(a, b)
}

// Image returns the record of the image, or ErrNotFound.
func (s *Store) Image(reference, platform string) (ImageRecord, error) {
	record, err := readImage(s.imagePath(reference, platform))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return ImageRecord{}, fmt.Errorf("image %s (%s): %w", reference, platform, err)
	}
	return record, nil
}

// A storedImage is a record with the time of its last use.
type storedImage struct {
	ImageRecord
	used time.Time
}

// storedImages returns all records, sorted by reference and platform.
func (s *Store) storedImages() ([]storedImage, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, "images"))
	if err != nil {
		return nil, err
	}
	var images []storedImage
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		info, err := e.Info()
		var record ImageRecord
		if err == nil {
			record, err = readImage(filepath.Join(s.root, "images", e.Name()))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		images = append(images, storedImage{record, info.ModTime()})
	}
	slices.SortFunc(images, func(a, b storedImage) int {
		return cmp.Or(strings.Compare(a.Reference, b.Reference), strings.Compare(a.Platform, b.Platform))
	})
	return images, nil
}

// DiffIDs returns the diffIDs of the layers, lowest first.
func (r ImageRecord) DiffIDs() []digest.Digest {
	var diffIDs []digest.Digest
	for _, layer := range r.Layers {
		diffIDs = append(diffIDs, layer.DiffID)
	}
	return diffIDs
}

// imageDirectories returns the directories where the image's layers and its fix-up layer are, or
// would be, each once.
func (s *Store) imageDirectories(r ImageRecord) []directory {
	var all []directory
	seen := map[digest.Digest]bool{}
	for _, d := range r.DiffIDs() {
		if !seen[d] {
			seen[d] = true
			all = append(all, directory{d.Encoded(), s.layerDir(d)})
		}
	}
	if len(all) > 0 {
		chainID := identity.ChainID(r.DiffIDs())
		all = append(all, directory{fixupPrefix + chainID.Encoded(), s.fixupDir(chainID)})
	}
	return all
}

// imagePath hashes the reference, which comes from a pipeline file and must not choose a path.
func (s *Store) imagePath(reference, platform string) string {
	return filepath.Join(s.root, "images", imageKey(reference, platform)+".json")
}

// imageLock returns the key of the lock that protects an image's record from removal.
func imageLock(reference, platform string) string { return "image-" + imageKey(reference, platform) }

func imageKey(reference, platform string) string {
	return digest.FromString(reference + "\x00" + platform).Encoded()
}

func readImage(path string) (ImageRecord, error) {
	var record ImageRecord
	data, err := os.ReadFile(path)
	if err != nil {
		return record, err
	}
	err = json.Unmarshal(data, &record)
	for _, layer := range record.Layers {
		if err == nil {
			err = validate(layer.DiffID)
		}
	}
	if err != nil {
		return record, fmt.Errorf("read %s: %w: remove the file and pull the image again", path, err)
	}
	return record, nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Peek returns the record of an image in the store at root, and whether all of its layers are
// there. It returns ErrNotFound when the image or the store does not exist. It creates nothing and
// holds nothing, so the image may be removed at any time.
func Peek(root, reference, platform string) (_ ImageRecord, whole bool, err error) {
	s := &Store{root: root, mountable: func() error { return nil }}
	record, err := s.Image(reference, platform)
	if err != nil {
		return ImageRecord{}, false, err
	}
	missing := slices.ContainsFunc(record.DiffIDs(), func(d digest.Digest) bool {
		_, err := os.Lstat(filepath.Join(s.layerDir(d), notesFile))
		return validate(d) != nil || err != nil
	})
	return record, !missing, nil
}
