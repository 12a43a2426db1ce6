package unpack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A Problem is something in the store that differs from what the store wrote.
type Problem struct {
	Path string // of the directory or the record
	Err  error
}

// Verified reports what Verify has checked and found.
type Verified struct {
	Images, Layers int // Layers includes fix-up layers
	Digests        int // layers whose tar was rebuilt and has the right digest
	Files          int // in the layers, directories included
	Problems       []Problem
}

var errLost = errors.New("is not whole, or was not yet on disk when the machine went down: it is fetched again when an image needs it")

// Verify checks everything in the store without changing it:
//
//   - the store and its layer directories belong to this user, and nobody else may enter them;
//   - every record can be read, is in its place, and lists the same layers as the image's
//     configuration;
//   - every layer of a record is there, complete, and was on disk before the last boot or written
//     since;
//   - every directory and the metadata of every file of a layer can be read, its notes fit its
//     files, and it has no whiteouts and no overlay attributes except those that the store makes;
//   - the tar of every layer, rebuilt from the content of its files, has the right digest: see
//     WriteTar;
//   - the fix-up layer of every image holds what follows from the layers' notes, with the right
//     metadata, and nothing else.
//
// So the content of every file is proven, except in layers that had a file twice. Owners, modes,
// times and attributes of files are not proven: those in the rebuilt tar come from its recipe. The
// error says what prevented Verify from checking.
func (s *Store) Verify(ctx context.Context) (Verified, error) {
	v := &verifier{store: s, xattrs: make([]byte, 64<<10)} // XATTR_LIST_MAX
	err := v.root()
	if err == nil {
		err = v.layers(ctx)
	}
	if err == nil {
		err = v.images(ctx)
	}
	if err != nil {
		return v.Verified, fmt.Errorf("verify layer store %s: %w", s.root, err)
	}
	return v.Verified, nil
}

type verifier struct {
	Verified
	store  *Store
	xattrs []byte // room for a list of names
}

func (v *verifier) problem(path string, err error) {
	if err != nil {
		v.Problems = append(v.Problems, Problem{path, err})
	}
}

// holding runs check with its own Store, whose holds are released right after: all layers together
// may be more files than a process may have open.
func (v *verifier) holding(check func(*Store) error) error {
	s := &Store{root: v.store.root, bootID: v.store.bootID, held: map[string]*os.File{}, mountable: v.store.mountable}
	return errors.Join(check(s), s.Close())
}

// root checks who may enter the store. The directories directly below were checked when the store
// was opened.
func (v *verifier) root() error {
	var st unix.Stat_t
	if err := unix.Stat(v.store.root, &st); err != nil {
		return err
	}
	v.problem(v.store.root, checkOwner(st, 0o022))
	return nil
}

// checkOwner checks that the directory belongs to this user and has none of the refused mode bits.
func checkOwner(st unix.Stat_t, refused uint32) error {
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to uid %d, not to uid %d: others can exchange layers", st.Uid, os.Geteuid())
	}
	if st.Mode&refused != 0 {
		return fmt.Errorf("has mode %#o: others can reach layers with setuid files or exchange them", st.Mode&0o7777)
	}
	return nil
}

func (v *verifier) layers(ctx context.Context) error {
	all, err := v.store.directories()
	if err != nil {
		return err
	}
	for _, d := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := v.holding(func(s *Store) error {
			held, err := s.hold(d.path)
			switch {
			case err != nil:
				v.problem(d.path, err)
			case held:
				v.Layers++
				v.problem(d.path, v.layer(ctx, s, d))
			case exists(d.path):
				v.problem(d.path, errLost)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// images checks the records file by file: a corrupt record must not hide the others.
func (v *verifier) images(ctx context.Context) error {
	paths, err := os.ReadDir(filepath.Join(v.store.root, "images"))
	if err != nil {
		return err
	}
	for _, e := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(v.store.root, "images", e.Name())
		record, err := readImage(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		v.Images++
		if err == nil {
			err = v.record(path, record)
		}
		if err == nil {
			err = v.holding(func(s *Store) error { return s.verifyStack(record.DiffIDs()) })
		}
		if err != nil && record.Reference != "" {
			err = fmt.Errorf("image %s (%s): %w", record.Reference, record.Platform, err)
		}
		v.problem(path, err)
	}
	return nil
}

// record checks that the record is about the image that its file name says, and lists the layers
// that the image's configuration lists.
func (v *verifier) record(path string, record ImageRecord) error {
	if want := v.store.imagePath(record.Reference, record.Platform); want != path {
		return errors.New("the record belongs to another image than its file name says: remove the file")
	}
	var config ocispec.Image
	if err := json.NewDecoder(bytes.NewReader(record.Config)).Decode(&config); err != nil {
		return fmt.Errorf("read its configuration: %w: remove the file and pull the image again", err)
	}
	if got := record.DiffIDs(); !slices.Equal(got, config.RootFS.DiffIDs) {
		return errors.New("the record lists other layers than the image's configuration: remove the file and pull the image again")
	}
	return nil
}

// verifyStack checks that all layers of an image are there, and that its fix-up layer is the right one.
func (s *Store) verifyStack(diffIDs []digest.Digest) error {
	for _, d := range diffIDs {
		held, err := s.hold(s.layerDir(d))
		if err != nil {
			return err
		}
		if !held {
			return fmt.Errorf("layer %s %w", d, errLost)
		}
	}
	if len(diffIDs) == 0 {
		return nil
	}
	return s.verifyFixup(diffIDs)
}
