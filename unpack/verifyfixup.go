package unpack

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"
)

// verifyFixup checks that the fix-up layer equals the one that would be made of the layers now.
func (s *Store) verifyFixup(diffIDs []digest.Digest) error {
	st, err := s.openStack(diffIDs)
	if err != nil {
		return err
	}
	defer st.close()
	plan, err := st.plan()
	if err != nil || plan.empty() {
		return err
	}
	dir := s.fixupDir(identity.ChainID(diffIDs))
	held, err := s.hold(dir)
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("the fix-up layer %s %w", dir, errLost)
	}
	if err := st.verifyFixup(filepath.Join(dir, fsDir), plan); err != nil {
		return fmt.Errorf("the fix-up layer %s: %w: remove the directory while nothing runs, and pull the image again", dir, err)
	}
	return nil
}

func (st *stack) verifyFixup(root string, plan fixPlan) error {
	dirs, files, err := st.fixupPaths(plan)
	if err != nil {
		return err
	}
	err = walk(root, func(v visited) error {
		if v.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			if _, ok := dirs[v.path]; !ok {
				return fmt.Errorf("directory %.300q does not belong there", v.path)
			}
			return nil
		}
		source, ok := files[v.path]
		if !ok {
			return fmt.Errorf("file %.300q does not belong there", v.path)
		}
		delete(files, v.path)
		return st.sameFile(v, source)
	})
	if err != nil {
		return err
	}
	for path := range files {
		return fmt.Errorf("file %.300q is missing", path)
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open directory", err)
	}
	defer unix.Close(fd)
	for _, path := range slices.Sorted(maps.Keys(dirs)) {
		if err := st.sameDir(fd, path); err != nil {
			return fmt.Errorf("directory %.300q: %w", path, err)
		}
	}
	return nil
}

// fixupPaths returns the content of the fix-up layer: its directories, and its files with their
// sources.
func (st *stack) fixupPaths(p fixPlan) (dirs map[string]bool, files map[string]place, err error) {
	dirs, files = map[string]bool{"": true}, map[string]place{}
	parents := func(path string) {
		for path != "" {
			path, _ = split(path)
			dirs[path] = true
		}
	}
	for _, path := range p.dirs {
		dirs[path] = true
		parents(path)
	}
	for _, link := range p.links {
		files[link.name] = link.source
		parents(link.name)
	}
	// The target of a link is there too, where it is still visible.
	for _, link := range p.links {
		seen, err := st.isSeen(link.source)
		if err != nil {
			return nil, nil, err
		}
		if seen {
			files[link.source.path] = link.source
			parents(link.source.path)
		}
	}
	return dirs, files, nil
}

// sameFile compares a copy with its source.
func (st *stack) sameFile(v visited, source place) error {
	from, err := st.openSource(source)
	if err != nil {
		return err
	}
	defer from.close()
	a, b := v.stat, from.stat
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim || a.Size != b.Size || a.Rdev != b.Rdev {
		return fmt.Errorf("file %.300q differs from that of its layer", v.path)
	}
	return nil
}

// sameDir compares a directory of the fix-up layer with the one whose metadata it is to show.
func (st *stack) sameDir(fixup int, path string) error {
	want, err := st.shownMetadata(path)
	if err != nil {
		return err
	}
	got, err := dirMetadata(fixup, path)
	if err != nil {
		return err
	}
	same := got.mode == want.mode && got.uid == want.uid && got.gid == want.gid && got.mtime == want.mtime
	if !same || !maps.Equal(got.xattrs, want.xattrs) {
		return errors.New("its metadata differs from that of its layer")
	}
	return nil
}

func dirMetadata(root int, path string) (metadata, error) {
	fd, err := openBeneath(root, path, unix.O_RDONLY)
	if err != nil {
		return metadata{}, failed("open directory", err)
	}
	defer unix.Close(fd)
	return fileMetadata(fd)
}
