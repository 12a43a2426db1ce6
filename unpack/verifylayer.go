package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// layer checks one layer, or fix-up layer, by itself.
func (v *verifier) layer(ctx context.Context, s *Store, d directory) error {
	err := v.layerFiles(d.path)
	if err == nil && !strings.HasPrefix(d.key, fixupPrefix) {
		err = v.digest(ctx, s, digest.NewDigestFromEncoded(digest.SHA256, d.key))
	}
	if err != nil {
		return fmt.Errorf("%w: remove the directory while nothing runs, and pull the image again", err)
	}
	return nil
}

// digest rebuilds the layer's tar and compares its digest.
func (v *verifier) digest(ctx context.Context, s *Store, diffID digest.Digest) error {
	err := s.writeTar(ctx, diffID, io.Discard)
	if errors.Is(err, ErrNoRecipe) {
		return nil
	}
	if err == nil {
		v.Digests++
	}
	return err
}

func (v *verifier) layerFiles(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return failed("stat", err)
	}
	if err := checkOwner(st, 0o077); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case fsDir, imageFile, recipeFile, notesFile, unsettledFile, sizeFile:
		default:
			return fmt.Errorf("%q does not belong there", e.Name())
		}
	}
	n, err := readNotes(dir)
	if err != nil {
		return err
	}
	if err := n.Image.check(filepath.Join(dir, imageFile)); err != nil {
		return err
	}
	return v.tree(lowerdir(dir), n)
}

// tree looks at every file of a layer and compares the layer's notes with it.
func (v *verifier) tree(root string, n notes) error {
	missing := map[string]string{} // named in the notes and not found yet
	whiteoutDirs, links := map[string]bool{}, map[string]bool{}
	for _, path := range n.ImplicitDirs {
		missing["directory "+string(path)] = string(path)
	}
	for _, path := range n.WhiteoutDirs {
		whiteoutDirs[string(path)] = true
		missing["whiteout in "+string(path)] = string(path)
	}
	for _, link := range n.Links {
		links[string(link.Name)] = true
		missing["whiteout "+string(link.Name)] = string(link.Name)
	}
	delete(missing, "directory ") // the root, which walk does not visit
	fd, err := openLower(root)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := v.overlayXattrs(procPath(fd)+"/.", true); err != nil {
		return err
	}
	err = walk(procPath(fd)+"/.", func(f visited) error {
		v.Files++
		isDir := f.stat.Mode&unix.S_IFMT == unix.S_IFDIR
		if isDir {
			delete(missing, "directory "+f.path)
		}
		if f.stat.Mode&unix.S_IFMT == unix.S_IFCHR && f.stat.Rdev == 0 {
			parent, _ := split(f.path)
			if !whiteoutDirs[parent] && !links[f.path] {
				return fmt.Errorf("whiteout %.300q is none that the layer has", f.path)
			}
			delete(missing, "whiteout "+f.path)
			delete(missing, "whiteout in "+parent)
		}
		if err := v.overlayXattrs(procPath(f.parent)+"/"+f.name, isDir); err != nil {
			return fmt.Errorf("%.300q: %w", f.path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for what := range missing {
		return fmt.Errorf("%.300q, which the layer has, is gone", what)
	}
	return nil
}

// overlayXattrs refuses attributes that control overlayfs. The store itself sets only one, on
// directories. Any other could show files of the host, or of another layer, under a name of the
// image.
func (v *verifier) overlayXattrs(path string, isDir bool) error {
	n, err := unix.Llistxattr(path, v.xattrs)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return failed("list xattrs", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(v.xattrs[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "trusted.") && !strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		var value [2]byte
		if name == opaqueXattr() && isDir {
			n, err := unix.Lgetxattr(path, name, value[:])
			if err == nil && bytes.Equal(value[:n], []byte("y")) {
				continue
			}
		}
		return fmt.Errorf("xattr %.300q is none that a layer may have", name)
	}
	return nil
}
