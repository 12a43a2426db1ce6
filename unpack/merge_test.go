package unpack_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/unpack"
)

// Real overlay mounts of layers that were unpacked without knowing of each other show what unpacking them
// one after the other into one directory would.
func TestMergedView(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]entry
		want   string // names, sorted; regular files with their content
	}{
		"whiteout": {
			[][]entry{{file("a", "1"), file("b", "1")}, {whiteout(".wh.a")}}, "b=1"},
		"whiteout in a directory": {
			[][]entry{{file("d/a", "1"), file("d/b", "1")}, {whiteout("d/.wh.a")}}, "d d/b=1"},
		"whiteout of a directory, then made again": {
			[][]entry{{file("foo/old", "1")}, {whiteout(".wh.foo"), file("foo/bar", "2")}}, "foo foo/bar=2"},
		"directory, then its whiteout": {
			[][]entry{{file("foo/old", "1")}, {file("foo/bar", "2"), whiteout(".wh.foo")}}, "foo foo/bar=2"},
		"file and its whiteout in one layer": {
			[][]entry{{file("foo/old", "1")}, {file("foo", "2"), whiteout(".wh.foo")}}, "foo=2"},
		"whiteout twice": {
			[][]entry{{file("a", "1"), file("b", "1")}, {whiteout(".wh.a"), whiteout(".wh.a")}}, "b=1"},
		"whiteout of what is not there": {
			[][]entry{{file("a", "1")}, {whiteout(".wh.b"), whiteout("no/such/.wh.c")}}, "a=1 no no/such"},
		"whiteout in a directory that only its layer has": {
			[][]entry{{file("a", "1")}, {file("d/x", "2"), whiteout("d/.wh.ghost")}}, "a=1 d d/x=2"},
		"whiteout below a whiteout": {
			[][]entry{{file("d/x", "1"), file("y", "1")}, {whiteout(".wh.d"), whiteout("d/.wh.x")}}, "y=1"},
		"whiteout below a file": {
			[][]entry{{file("d/x", "1")}, {whiteout("d/.wh.x"), file("d", "2")}}, "d=2"},
		"opaque": {
			[][]entry{{file("d/a", "1")}, {dir("d"), whiteout("d/.wh..wh..opq"), file("d/b", "2")}}, "d d/b=2"},
		"opaque after its siblings": {
			[][]entry{{file("d/a", "1"), file("d/e/f", "1")}, {file("d/b", "2"), file("d/e/g", "2"), whiteout("d/.wh..wh..opq")}}, "d d/b=2 d/e d/e/g=2"},
		"whiteouts in an opaque directory are not listed": {
			[][]entry{{file("d/a", "1"), file("d/e/f", "1")}, {dir("d"), dir("d/e"), whiteout("d/.wh.a"), whiteout("d/e/.wh.f"), whiteout("d/.wh..wh..opq")}}, "d d/e"},
		"opaque directory that the layer does not have": {
			[][]entry{{file("d/a", "1")}, {whiteout("d/.wh..wh..opq")}}, "d"},
		"opaque below a file": {
			[][]entry{{file("d/a", "1")}, {file("d", "2"), whiteout("d/.wh..wh..opq")}}, "d=2"},
		"opaque root": {
			[][]entry{{file("a", "1")}, {file("b", "2")}, {whiteout(".wh..wh..opq"), file("c", "3")}, {file("d", "4")}}, "c=3 d=4"},
		"opaque in the middle": {
			[][]entry{{file("d/a", "1")}, {file("d/b", "2"), whiteout("d/.wh..wh..opq")}, {file("d/c", "3")}}, "d d/b=2 d/c=3"},
		"whiteout, then again in a higher layer": {
			[][]entry{{file("d/a", "1")}, {whiteout(".wh.d")}, {file("d/b", "3")}}, "d d/b=3"},
		"directory over a lower file": {
			[][]entry{{file("d", "1")}, {file("d/b", "2")}}, "d d/b=2"},
		"file over a lower directory": {
			[][]entry{{file("d/a", "1")}, {file("d", "2")}}, "d=2"},
		"file, then directory in one layer hides the lower directory": {
			[][]entry{{file("d/a", "1")}, {file("d", "2"), dir("d"), file("d/b", "2")}}, "d d/b=2"},
		"directory hides a lower symlink, as in docker": {
			[][]entry{{file("usr/lib/a", "1"), symlink("lib", "usr/lib")}, {file("lib/b", "2")}}, "lib lib/b=2 usr usr/lib usr/lib/a=1"},
		"entries below a link of their own layer meet a lower directory": {
			[][]entry{{file("usr/lib/a", "1"), file("usr/lib/b", "1")}, {symlink("lib", "usr/lib"), file("lib/b", "2"), whiteout("lib/.wh.a"), link("c", "lib/b")}}, "c=2 lib usr usr/lib usr/lib/b=2"},
		"opaque marker below a link": {
			[][]entry{{file("usr/lib/a", "1")}, {symlink("lib", "usr/lib"), whiteout("lib/.wh..wh..opq"), file("lib/b", "2")}}, "lib usr usr/lib usr/lib/b=2"},
		"hard link through a link to a lower file": {
			[][]entry{{file("usr/lib/a", "1")}, {symlink("lib", "usr/lib"), link("b", "lib/a")}}, "b=1 lib usr usr/lib usr/lib/a=1"},
		"layer twice": {
			[][]entry{{file("a", "1")}, {file("a", "2"), file("b", "2")}, {file("a", "1")}}, "a=1 b=2"},
		"hard link to a lower file": {
			[][]entry{{file("usr/a", "1")}, {link("bin/b", "usr/a")}}, "bin bin/b=1 usr usr/a=1"},
		"hard link to a lower symlink": {
			[][]entry{{symlink("usr/a", "x")}, {link("bin/b", "usr/a")}}, "bin bin/b usr usr/a"},
		"hard link in place of a lower directory": {
			[][]entry{{file("a", "1"), file("d/x", "1")}, {link("d", "a")}}, "a=1 d=1"},
		"hard link in place of a lower directory, under a directory": {
			[][]entry{{file("a", "1"), file("d/x", "1")}, {link("d", "a")}, {file("d/y", "3")}}, "a=1 d d/y=3"},
		"hard link in an opaque directory": {
			[][]entry{{file("a", "1"), file("d/x", "1")}, {whiteout("d/.wh..wh..opq"), link("d/y", "a")}}, "a=1 d d/y=1"},
		"hard link to a hard link to a lower file": {
			[][]entry{{file("a", "1")}, {link("b", "a"), link("c", "b")}, {link("d", "c")}}, "a=1 b=1 c=1 d=1"},
		"hard link, then its target is removed": {
			[][]entry{{file("a", "1"), file("x", "")}, {link("b", "a"), whiteout(".wh.a")}}, "b=1 x="},
		"hard link, then its target is replaced above": {
			[][]entry{{file("a", "1")}, {link("b", "a")}, {file("a", "3")}}, "a=3 b=1"},
		"hard link replaced by a later entry": {
			[][]entry{{file("a", "1")}, {link("b", "a"), file("b", "2")}}, "a=1 b=2"},
		"hard link removed above": {
			[][]entry{{file("a", "1")}, {link("b", "a")}, {whiteout(".wh.b")}}, "a=1"},
		"hard link below a directory removed above": {
			[][]entry{{file("a", "1")}, {link("d/b", "a")}, {whiteout(".wh.d")}}, "a=1"},
		"hard link in a directory that becomes a file": {
			[][]entry{{file("a", "1")}, {link("d/b", "a"), file("d", "2")}}, "a=1 d=2"},
		"names that are not UTF-8": {
			[][]entry{{file("\xff/a", "1", format(0))}, {link("\xff/b", "\xff/a", format(0)), whiteout("\xfe/.wh.x")}}, "\xfe \xff \xff/a=1 \xff/b=1"},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []unpack.Layer
			for _, entries := range c.layers {
				for i := range entries {
					if entries[i].Format == 0 {
						entries[i].ModTime = time.Unix(1, 0)
					}
				}
				layers = append(layers, layerOf(t, entries...))
			}
			if got := outline(merge(t, layers...)); got != c.want {
				t.Errorf("merged view:\ngot  %q\nwant %q", got, c.want)
			}
		})
	}
}

func outline(nodes map[string]node) string {
	var out []string
	for path, n := range nodes {
		if path == "." {
			continue
		}
		if n.Type == "file" {
			path += "=" + n.Content
		}
		out = append(out, path)
	}
	return strings.Join(slices.Sorted(slices.Values(out)), " ")
}

// A directory that a layer never declares keeps the metadata that a lower layer gave it.
func TestImplicitDirectories(t *testing.T) {
	early := time.Unix(1000, 5)
	tmp := []option{mode(0o1777), owner(1, 2), at(early), xattr("user.k", "v")}
	want := node{Type: "dir", Mode: 0o1777, UID: 1, GID: 2, Mtime: "1000.000000005", Xattrs: `user.k="v"`}
	plain := node{Type: "dir", Mode: 0o755, Mtime: "0.000000000"}
	redeclared := want
	redeclared.Mode = 0o700
	for name, c := range map[string]struct {
		layers [][]entry
		want   node
	}{
		"file in it":                   {[][]entry{{dir("tmp", tmp...)}, {file("tmp/x", "")}}, want},
		"whiteout in it":               {[][]entry{{dir("tmp", tmp...), file("tmp/x", "")}, {whiteout("tmp/.wh.x")}}, want},
		"opaque marker in it":          {[][]entry{{dir("tmp", tmp...), file("tmp/x", "")}, {whiteout("tmp/.wh..wh..opq")}}, want},
		"two layers imply it":          {[][]entry{{dir("tmp", tmp...)}, {file("tmp/x", "")}, {file("tmp/y", "")}}, want},
		"implied, then declared":       {[][]entry{{file("tmp/x", "")}, {dir("tmp", tmp...)}}, want},
		"declared twice":               {[][]entry{{dir("tmp", mode(0o711))}, {dir("tmp", tmp...)}, {file("tmp/x", "")}}, want},
		"redeclared on top":            {[][]entry{{dir("tmp", mode(0o711))}, {file("tmp/x", "")}, {dir("tmp", append(tmp, mode(0o700))...)}}, redeclared},
		"no layer declares it":         {[][]entry{{file("tmp/x", "")}, {file("tmp/y", "")}}, plain},
		"removed and implied":          {[][]entry{{dir("tmp", tmp...)}, {whiteout(".wh.tmp"), file("tmp/x", "")}}, plain},
		"removed below":                {[][]entry{{dir("tmp", tmp...)}, {whiteout(".wh.tmp")}, {file("tmp/x", "")}}, plain},
		"replaced by a file below":     {[][]entry{{dir("tmp", tmp...)}, {file("tmp", "")}, {file("tmp/x", "")}}, plain},
		"lower symlink is replaced":    {[][]entry{{symlink("tmp", "var")}, {file("tmp/x", "")}}, plain},
		"parent of a lower hard link":  {[][]entry{{dir("tmp", tmp...), file("f", "")}, {link("tmp/x", "f")}}, want},
		"its metadata came from above": {[][]entry{{file("tmp/x", "")}, {dir("tmp", tmp...)}, {file("tmp/y", "")}}, want},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []unpack.Layer
			for _, entries := range c.layers {
				layers = append(layers, layerOf(t, entries...))
			}
			if diff := cmp.Diff(c.want, merge(t, layers...)["tmp"]); diff != "" {
				t.Errorf("metadata of /tmp differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImplicitDirectoryBelowOpaqueParentIsNew(t *testing.T) {
	got := merge(t, layerOf(t, dir("a"), dir("a/b", mode(0o700))), layerOf(t, whiteout("a/.wh..wh..opq"), file("a/b/c", "")))
	if got["a/b"].Mode != 0o755 {
		t.Errorf("a/b has mode %o, want 755: the lower one was removed", got["a/b"].Mode)
	}
}

func TestRootMetadataComesFromTheLayerThatDeclaresIt(t *testing.T) {
	got := merge(t, layerOf(t, dir("./", mode(0o711), owner(3, 4)), file("a", "")), layerOf(t, file("b", "")))
	want := node{Type: "dir", Mode: 0o711, UID: 3, GID: 4, Mtime: "1614834367.123456789"}
	if diff := cmp.Diff(want, got["."]); diff != "" {
		t.Errorf("root differs (-want +got):\n%s", diff)
	}
}

func TestCrossLayerHardLinkKeepsEverything(t *testing.T) {
	opts := []option{mode(0o4711), owner(5, 6), xattr("security.capability", capNetRaw), xattr("user.k", "v")}
	big := strings.Repeat("0123456789abcdef", 100_000)
	got := merge(t, layerOf(t, file("usr/a", big, opts...)), layerOf(t, link("usr/b", "/usr/a", mode(0), owner(9, 9)), link("usr/c", "usr/a")))
	if got["usr/a"].Nlink != 3 {
		t.Errorf("usr/a has %d links, want 3", got["usr/a"].Nlink)
	}
	for _, name := range []string{"usr/b", "usr/c"} {
		if diff := cmp.Diff(got["usr/a"], got[name]); diff != "" {
			t.Errorf("%s differs from usr/a (-a +link):\n%s", name, diff)
		}
	}
	if a := got["usr/a"]; a.Mode != 0o4711 || a.UID != 5 || !strings.Contains(a.Xattrs, "security.capability") {
		t.Errorf("copy lost metadata: %+v", a)
	}
}

func TestNoFixupLayerWithoutNeed(t *testing.T) {
	s, root := openStore(t)
	layers := []unpack.Layer{layerOf(t, dir("./"), dir("d"), file("d/a", "")), layerOf(t, dir("./"), dir("d"), file("d/b", ""), whiteout("d/.wh.a"))}
	dirs, err := s.Unpack(t.Context(), layers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != 2 {
		t.Errorf("got %d lowerdirs, want 2: %q", len(dirs), dirs)
	}
	if entries, err := os.ReadDir(filepath.Join(root, "fixups")); err != nil || len(entries) != 0 {
		t.Errorf("fixups has %v, error %v", entries, err)
	}
}

func TestFixupLayerHidesNothing(t *testing.T) {
	base := layerOf(t, dir("./"), dir("a", mode(0o700)), file("a/x", "1"), dir("a/b"), file("a/b/y", "1"), file("z", "1"))
	top := layerOf(t, file("a/b/new", "2"), link("a/link", "z"))
	lowerdirs := unpackAll(t, base, top)
	with := snapshot(t, overlay(t, lowerdirs))
	without := snapshot(t, overlay(t, lowerdirs[:2]))
	delete(with, "a/link")
	if diff := cmp.Diff(names(without), names(with), sorted); diff != "" {
		t.Errorf("fix-up layer hides or shows (-without +with):\n%s", diff)
	}
	if with["a"].Mode != 0o700 || with["a/x"].Content != "1" {
		t.Errorf("fix-up layer spoils: %+v %+v", with["a"], with["a/x"])
	}
}

func TestLowerdirsNeedsAllOfIt(t *testing.T) {
	s, root := openStore(t)
	layers := []unpack.Layer{layerOf(t, dir("tmp", mode(0o1777))), layerOf(t, file("tmp/x", ""))}
	ids := diffIDs(layers)
	if dirs, ok := s.Lowerdirs(ids); ok {
		t.Errorf("Lowerdirs of an empty store: %q", dirs)
	}
	want, err := s.Unpack(t.Context(), layers, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := s.Lowerdirs(ids)
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("Lowerdirs %v differs from Unpack's (-want +got):\n%s", ok, diff)
	}
	if err := os.RemoveAll(filepath.Join(root, "fixups")); err != nil {
		t.Fatal(err)
	}
	if _, ok := reopen(t, root).Lowerdirs(ids); ok {
		t.Error("Lowerdirs without the fix-up layer")
	}
}

// Sparse files are sparse in the fix-up layer too.
func TestCrossLayerHardLinkOfSparseFile(t *testing.T) {
	lowerdirs := unpackAll(t, streamLayerOf(sparseTar(t, "s", 8<<30)), layerOf(t, link("l", "s")))
	for _, path := range []string{filepath.Join(lowerdirs[0], "s"), filepath.Join(lowerdirs[len(lowerdirs)-1], "l")} {
		assertSparse(t, path, 8<<30)
	}
}

func TestMissingLinkTargetNamesTheLayer(t *testing.T) {
	s, _ := openStore(t)
	layers := []unpack.Layer{layerOf(t, file("a", "")), layerOf(t, link("b", "gone"))}
	_, err := s.Unpack(t.Context(), layers, nil)
	var entryErr *unpack.EntryError
	if !errors.As(err, &entryErr) || entryErr.Layer != layers[1].DiffID || entryErr.Name != "b" || entryErr.Op != "link" {
		t.Errorf("got %#v", err)
	}
}
