package unpack

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

// Names from the OCI image-spec, layer.md, section "Whiteouts".
const (
	whiteoutPrefix = ".wh."         // removes the lower file whose name follows
	aufsPrefix     = ".wh..wh."     // aufs' own bookkeeping, which some old images carry
	opaqueMarker   = ".wh..wh..opq" // removes all that lower layers have in its directory
)

// opaqueXattr returns the attribute that marks opaque directories for overlayfs. In a user
// namespace nobody may set trusted attributes; overlays mounted there, with the option userxattr,
// use another name. A store belongs to one kind of user.
var opaqueXattr = sync.OnceValue(func() string {
	if rootless.InNamespace() {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
})

// whiteout handles the entry if it is a whiteout. finish applies whiteouts, because they concern
// lower layers only and their position among the other entries must not matter.
func (t *tree) whiteout(path string) (done bool, err error) {
	dir, base := split(path)
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, aufsPrefix) {
			return true, nil
		}
		if strings.HasPrefix(part, whiteoutPrefix) {
			return true, errWhiteout
		}
	}
	if base == opaqueMarker {
		dir, err := t.budget.keep(dir)
		t.opaque[dir] = true
		return true, err
	}
	if strings.HasPrefix(base, aufsPrefix) {
		return true, nil
	}
	name, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		return false, nil
	}
	// ".wh..." would remove the parent's parent.
	if name == "" || name == "." || name == ".." {
		return true, errWhiteout
	}
	removed, err := t.budget.keep(join(dir, name))
	t.whiteouts[removed] = true
	return true, err
}

// finish applies everything that depends on all entries: whiteouts, then the metadata of
// directories.
func (t *tree) finish() error {
	if err := t.applyOpaque(); err != nil {
		return err
	}
	whiteoutDirs := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(t.whiteouts)) {
		dir, base := split(path)
		made, err := t.applyWhiteout(path)
		if err != nil {
			return t.entryError(join(dir, whiteoutPrefix+base), err)
		}
		if made {
			whiteoutDirs[dir] = true
		}
	}
	if err := t.noteLinks(); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(t.dirs)) {
		state := t.dirs[path]
		m := implicitMetadata
		if state.declared != nil {
			m = *state.declared
		}
		if err := t.sink.finishDir(path, m, state.opaque); err != nil {
			return t.entryError(path, err)
		}
		if state.declared == nil && !state.fresh {
			t.notes.ImplicitDirs = append(t.notes.ImplicitDirs, layerPath(path))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(whiteoutDirs)) {
		t.notes.WhiteoutDirs = append(t.notes.WhiteoutDirs, layerPath(path))
	}
	t.notes.OpaqueRoot = t.dirs[""].opaque
	return nil
}

// applyOpaque finds the opaque directories: those with a marker, and those that the layer removes
// and makes again, which start empty, without the metadata of the lower one.
func (t *tree) applyOpaque() error {
	for path := range t.whiteouts {
		if state := t.dirs[path]; state != nil {
			state.opaque, state.fresh = true, true
		}
	}
	for _, path := range slices.Sorted(maps.Keys(t.opaque)) {
		if t.dirs[path] == nil {
			// Where the layer removes the directory or has another file, it already hides
			// everything.
			marker := join(path, opaqueMarker)
			hidden, err := t.hidden(marker)
			if err == nil && !hidden {
				err = t.ensure(path)
			}
			if err != nil {
				return t.entryError(marker, err)
			}
		}
		if state := t.dirs[path]; state != nil {
			state.opaque = true
		}
	}
	return nil
}

// applyWhiteout makes the overlay whiteout, a 0:0 device, unless the layer itself hides what is
// below: overlayfs would list a whiteout inside an opaque directory.
func (t *tree) applyWhiteout(path string) (made bool, err error) {
	if t.dirs[path] != nil {
		return false, nil
	}
	if hidden, err := t.hidden(path); hidden || err != nil {
		return false, err
	}
	parent, _ := split(path)
	if err := t.ensure(parent); err != nil {
		return false, err
	}
	if err := t.budget.entry(); err != nil {
		return false, err
	}
	return true, failed("create whiteout", t.sink.whiteout(path))
}

// hidden reports whether the layer hides what lower layers have at path: by a file there or above
// it, by a whiteout, or by an opaque directory above it.
func (t *tree) hidden(path string) (bool, error) {
	if blocked, err := t.blocked(path); blocked || err != nil {
		return blocked, err
	}
	for dir, _ := split(path); ; dir, _ = split(dir) {
		if state := t.dirs[dir]; state == nil && t.whiteouts[dir] || state != nil && state.opaque {
			return true, nil
		}
		if dir == "" {
			return false, nil
		}
	}
}

// blocked reports whether the layer has something other than a directory at path or above it. A
// symbolic link above path came after the entry, which would otherwise have followed it.
func (t *tree) blocked(path string) (bool, error) {
	if path == "" {
		return false, nil
	}
	dir, base := split(path)
	for dir != "" && t.dirs[dir] == nil {
		dir, base = split(dir)
	}
	kind, err := t.sink.kind(join(dir, base))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, failed("stat", err)
	}
	return kind != unix.S_IFDIR, nil
}
