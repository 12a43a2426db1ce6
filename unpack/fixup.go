package unpack

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"
)

// Lowerdirs returns the directories to mount as overlay lowerdirs for the layers, lowest first. It
// returns false when a layer, or the fix-up layer, is not in the store. The directories are held
// until Close.
func (s *Store) Lowerdirs(diffIDs []digest.Digest) ([]string, bool) {
	for _, d := range diffIDs {
		if validate(d) != nil {
			return nil, false
		}
		if held, err := s.hold(s.layerDir(d)); !held || err != nil {
			return nil, false // Unpack meets the same error and returns it
		}
	}
	st, err := s.openStack(diffIDs)
	if err != nil {
		return nil, false
	}
	defer st.close()
	plan, err := st.plan()
	if err != nil {
		return nil, false
	}
	if plan.empty() {
		return st.paths(), true
	}
	fixup := s.fixupDir(identity.ChainID(diffIDs))
	held, err := s.hold(fixup)
	return append(st.paths(), filepath.Join(fixup, fsDir)), held && err == nil
}

// fixUp makes the fix-up layer of the stack, if it needs one, and returns the lowerdirs.
func (s *Store) fixUp(ctx context.Context, diffIDs []digest.Digest) ([]string, error) {
	if len(diffIDs) == 0 {
		return nil, nil
	}
	chainID := identity.ChainID(diffIDs)
	wrap := func(err error) error {
		return fmt.Errorf("put layers of chain %s together: %w", chainID, s.explain(err))
	}
	st, err := s.openStack(diffIDs)
	if err != nil {
		return nil, wrap(err)
	}
	defer st.close()
	plan, err := st.plan()
	if err != nil {
		return nil, wrap(err)
	}
	if plan.empty() {
		return st.paths(), nil
	}
	final := s.fixupDir(chainID)
	_, err = s.build(ctx, fixupPrefix+chainID.Encoded(), final, func(tmp string) error {
		t, err := s.newTree(chainID, tmp, FormatDirectories, true)
		if err != nil {
			return err
		}
		defer t.close()
		if err := st.fix(ctx, t, plan); err != nil {
			return err
		}
		return notes{}.write(tmp)
	})
	if err != nil {
		return nil, wrap(err)
	}
	return append(st.paths(), filepath.Join(final, fsDir)), nil
}

// A fixPlan says what the fix-up layer of a stack holds.
type fixPlan struct {
	dirs  []string  // directories whose merged metadata is wrong, or whose whiteouts would be listed
	links []fixLink // in the order of their layers
}

// A fixLink is a hard link across layers.
type fixLink struct {
	name   string
	source place // the file that it links to
}

func (p fixPlan) empty() bool { return len(p.dirs) == 0 && len(p.links) == 0 }

// plan reads the notes of all layers of the stack.
func (st *stack) plan() (fixPlan, error) {
	var plan fixPlan
	dirs := map[string]bool{} // true: part of the plan; false: checked and already right
	for i, l := range st.layers {
		for _, path := range l.notes.ImplicitDirs {
			if _, seen := dirs[string(path)]; seen {
				continue
			}
			top, source, err := st.directory(string(path))
			if err != nil {
				return plan, err
			}
			dirs[string(path)] = top != source
		}
		for _, path := range l.notes.WhiteoutDirs {
			alone, err := st.unmerged(string(path), i)
			if err != nil {
				return plan, err
			}
			if alone {
				dirs[string(path)] = true
			}
		}
		if err := st.planLinks(&plan, i); err != nil {
			return plan, err
		}
	}
	for path, wrong := range dirs {
		if wrong {
			plan.dirs = append(plan.dirs, path)
		}
	}
	slices.Sort(plan.dirs)
	return plan, nil
}

// planLinks adds the links of layer i that no higher layer hides.
func (st *stack) planLinks(plan *fixPlan, i int) error {
	l := st.layers[i]
	for _, link := range l.notes.Links {
		name := string(link.Name)
		source, err := st.linkSource(i, name)
		if err != nil {
			return &EntryError{Layer: l.diffID, Name: name, Op: "link", Err: err}
		}
		at, s, err := st.find(name, len(st.layers))
		if err != nil {
			return err
		}
		if s.found && at.layer == i && at.path == name {
			plan.links = append(plan.links, fixLink{name, source})
		}
	}
	return nil
}

// fix writes the fix-up layer. It is mounted on top, so every directory in it, including parents of
// the changed ones, must have the metadata of the merged directory, and it must hold no file that
// should not be visible.
func (st *stack) fix(ctx context.Context, t *tree, plan fixPlan) error {
	for _, path := range plan.dirs {
		if err := t.ensure(path); err != nil {
			return t.entryError(path, err)
		}
	}
	copies := map[inode]string{}
	for _, link := range plan.links {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := st.fixLink(t, link, copies); err != nil {
			return t.entryError(link.name, err)
		}
	}
	if err := t.sink.wait(); err != nil {
		return err
	}
	for path := range t.dirs {
		if err := st.fixDir(t, path); err != nil {
			return t.entryError(path, err)
		}
	}
	return nil
}

// fixDir copies the metadata that the merged directory should have.
func (st *stack) fixDir(t *tree, path string) error {
	m, err := st.shownMetadata(path)
	if err != nil {
		return err
	}
	return t.sink.finishDir(path, m, false)
}

// shownMetadata returns the metadata that the merged directory should have.
func (st *stack) shownMetadata(path string) (metadata, error) {
	_, source, err := st.directory(path)
	if err != nil {
		return metadata{}, err
	}
	if source < 0 {
		return metadata{}, unix.ENOTDIR
	}
	root, err := st.layers[source].root()
	if err != nil {
		return metadata{}, err
	}
	return dirMetadata(root, path)
}

// fixLink copies the target of a link up, once, and links to the copy all names in the plan, and
// the target's own name if it is still visible.
func (st *stack) fixLink(t *tree, link fixLink, copies map[inode]string) error {
	source, err := st.openSource(link.source)
	if err != nil {
		return err
	}
	defer source.close()
	if first, ok := copies[source.inode()]; ok {
		err = t.addLink(link.name, first)
	} else {
		copies[source.inode()] = link.name
		err = t.copyUp(link.name, source)
	}
	if err != nil {
		return err
	}
	seen, err := st.isSeen(link.source)
	if err != nil || !seen {
		return err
	}
	return t.addLink(link.source.path, link.name)
}

// isSeen reports whether the file is visible: no higher layer hides it.
func (st *stack) isSeen(file place) (bool, error) {
	at, s, err := st.find(file.path, len(st.layers))
	return err == nil && s.found && at == file, err
}
