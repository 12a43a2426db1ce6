package unpack_test

import (
	"archive/tar"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// A model applies layers one after the other to a single tree in memory, the way the specification tells it.
type model map[string]*node

func newModel() model { return model{".": implicitDir()} }

func implicitDir() *node { return &node{Type: "dir", Mode: 0o755, Mtime: "0.000000000"} }

// apply applies one layer: first what it removes, then what it brings, then the directories that its
// whiteouts imply. It reports whether the layer is valid.
func (m model) apply(entries []entry) bool {
	entries, ok := resolved(entries)
	if !ok {
		return false
	}
	lower := maps.Clone(m)
	a := applied{model: m, lower: lower, own: map[string]bool{".": true}, fresh: map[string]bool{}, linked: map[string]bool{}}
	for _, e := range entries {
		dir, base := path.Split(path.Clean(e.Name))
		dir = path.Clean(dir)
		if base == ".wh..wh..opq" {
			a.opaque = append(a.opaque, dir)
			m.removeBelow(dir)
		} else if name, ok := strings.CutPrefix(base, ".wh."); ok {
			a.whiteouts = append(a.whiteouts, path.Join(dir, name))
			m.remove(path.Join(dir, name))
		}
	}
	for _, e := range entries {
		if !strings.HasPrefix(path.Base(e.Name), ".wh.") && !a.add(e) {
			return false
		}
	}
	for name := range a.own {
		if a.model[name].Type == "dangling" {
			return false
		}
	}
	slices.Sort(a.opaque)
	for _, dir := range a.opaque {
		if !a.imply(dir) {
			return false
		}
	}
	slices.Sort(a.whiteouts)
	for _, name := range a.whiteouts {
		if !a.own[name] && !a.imply(path.Dir(name)) {
			return false
		}
	}
	return true
}

// resolved returns the entries with names that lead through no symbolic link of the layer, each
// as the links are when the entry comes. It reports whether none goes in a circle.
func resolved(entries []entry) (out []entry, ok bool) {
	ok = true
	const directory, other = "directory", "other" // what else there is, is a link's target after "->"
	own := map[string]string{".": directory}
	follow := func(name string) string {
		at := "."
		rest := strings.Split(path.Dir(path.Clean(name)), "/")
		for links := 0; len(rest) > 0 && links < 100; {
			next := path.Join(at, rest[0])
			rest = rest[1:]
			if target, isLink := strings.CutPrefix(own[next], "->"); isLink {
				rest = append(strings.Split(target, "/"), rest...)
				links++
				continue
			}
			at = next
		}
		if len(rest) > 0 {
			ok = false
		}
		return path.Join(at, path.Base(path.Clean(name)))
	}
	for _, e := range entries {
		e.Name = follow(e.Name)
		if e.Typeflag == tar.TypeLink {
			e.Linkname = follow(e.Linkname)
		}
		out = append(out, e)
		if strings.HasPrefix(path.Base(e.Name), ".wh.") {
			continue
		}
		kind := other
		switch e.Typeflag {
		case tar.TypeDir:
			kind = directory
		case tar.TypeSymlink:
			kind = "->" + e.Linkname
		case tar.TypeLink:
			if own[e.Linkname] != "" {
				kind = own[e.Linkname]
			}
		}
		if kind != directory {
			maps.DeleteFunc(own, func(p, _ string) bool { return strings.HasPrefix(p, e.Name+"/") })
		}
		own[e.Name] = kind
		for dir := path.Dir(e.Name); own[dir] == ""; dir = path.Dir(dir) {
			own[dir] = directory
		}
	}
	return out, ok
}

func (m model) remove(name string) {
	m.removeBelow(name)
	delete(m, name)
}

func (m model) removeBelow(name string) {
	for p := range m {
		if p != "." && p != name && (name == "." || strings.HasPrefix(p, name+"/")) {
			delete(m, p)
		}
	}
}

// applied is a layer while it is being applied.
type applied struct {
	model
	lower     model
	own       map[string]bool // paths that the layer itself has brought
	fresh     map[string]bool // directories that replaced a file of the layer itself
	linked    map[string]bool // hard links to lower files
	opaque    []string
	whiteouts []string
}

// put replaces what is at name.
func (a *applied) put(name string, n *node) {
	a.fresh[name], a.linked[name] = a.own[name], false
	a.remove(name)
	for p := range a.own {
		if strings.HasPrefix(p, name+"/") {
			delete(a.own, p)
		}
	}
	a.model[name], a.own[name] = n, true
}

// parents makes the directories above name; a file of the layer itself is in the way, a lower one is not.
func (a *applied) parents(name string) bool {
	dir := path.Dir(name)
	if dir == "." {
		return true
	}
	if !a.parents(dir) {
		return false
	}
	if n := a.model[dir]; n == nil || n.Type != "dir" {
		if a.own[dir] {
			return false
		}
		a.put(dir, implicitDir())
	}
	a.own[dir] = true
	return true
}

func (a *applied) add(e entry) bool {
	name := path.Clean(e.Name)
	if !a.parents(name) {
		return false
	}
	n := &node{
		Mode: uint32(e.Mode), UID: uint32(e.Uid), GID: uint32(e.Gid),
		Mtime: fmt.Sprintf("%d.%09d", e.ModTime.Unix(), e.ModTime.Nanosecond()), Content: e.content,
	}
	switch e.Typeflag {
	case tar.TypeReg:
		n.Type = "file"
	case tar.TypeFifo:
		n.Type = "fifo"
	case tar.TypeChar:
		n.Type, n.Rdev = "char", unix.Mkdev(uint32(e.Devmajor), uint32(e.Devminor))
	case tar.TypeSymlink:
		n.Type, n.Target, n.Mode = "symlink", e.Linkname, 0o777
	case tar.TypeLink:
		target := path.Clean(e.Linkname)
		n = a.lower[target]
		linked := !a.own[target] || a.linked[target]
		if a.own[target] {
			n = a.model[target]
		}
		if target == name && a.own[name] && n.Type != "dir" {
			return true
		}
		if target == name || strings.HasPrefix(target, name+"/") || a.own[target] && n.Type == "dir" || !a.reachable(target) {
			return false
		}
		if n == nil || n.Type == "dir" {
			n = &node{Type: "dangling"} // matters only if no later entry replaces it
		}
		a.put(name, n)
		a.linked[name] = linked
		return true
	case tar.TypeDir:
		n.Type = "dir"
		if old := a.model[name]; old != nil && old.Type == "dir" {
			a.model[name], a.own[name] = n, true
			return true
		}
	}
	a.put(name, n)
	return true
}

// reachable reports whether no file of the layer itself is above name.
func (a *applied) reachable(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if a.own[dir] && a.model[dir].Type != "dir" {
			return false
		}
	}
	return true
}

// imply makes a directory that a whiteout or an opaque marker lies in, unless the layer hides it.
func (a *applied) imply(dir string) bool {
	for d := dir; d != "."; d = path.Dir(d) {
		if !a.own[d] {
			continue
		}
		if a.model[d].Type != "dir" {
			return true
		}
	}
	for d := dir; d != "." && !a.own[dir]; d = path.Dir(d) {
		if slices.Contains(a.whiteouts, d) || d != dir && slices.Contains(a.opaque, d) || a.fresh[d] {
			return true
		}
	}
	return a.parents(path.Join(dir, "x"))
}

// randomLayer makes a layer out of few names, so that its entries meet.
func randomLayer(r *rand.Rand) []entry {
	name := func() string {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(3)))
		}
		return strings.Join(parts, "/")
	}
	var entries []entry
	for range r.IntN(7) {
		opts := []option{
			mode([]int64{0o644, 0o4755, 0o1777, 0o2750, 0}[r.IntN(5)]), owner(r.IntN(3), r.IntN(3)),
			at(time.Unix(int64(r.IntN(1e9)), int64(r.IntN(1e9)))),
		}
		switch n := name(); r.IntN(13) {
		case 0, 1, 2:
			entries = append(entries, file(n, fmt.Sprint(r.IntN(1000)), opts...))
		case 3, 4, 5:
			entries = append(entries, dir(n, opts...))
		case 6:
			entries = append(entries, symlink(n, name(), opts...))
		case 7:
			entries = append(entries, link(n, name(), opts...))
		case 8:
			entries = append(entries, fifo(n, opts...))
		case 9:
			entries = append(entries, char(n, 1, 1+int64(r.IntN(9)), opts...))
		case 10, 11:
			d, base := path.Split(n)
			entries = append(entries, whiteout(d+".wh."+base))
		case 12:
			entries = append(entries, whiteout(n+"/.wh..wh..opq"))
		}
	}
	return entries
}

// The mounted layers of random images are what applying them one by one gives.
func TestRandomStacksEqualSequentialModel(t *testing.T) {
	valid := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newModel()
		var layers []unpack.Layer
		var log []string
		ok := true
		for i := 0; i < 2+r.IntN(4) && ok; i++ {
			entries := randomLayer(r)
			ok = m.apply(entries)
			layer := layerOf(t, entries...)
			if seed%2 == 1 {
				layer = inStages(layer)
			}
			layers = append(layers, layer)
			for _, e := range entries {
				log = append(log, fmt.Sprintf("layer %d: %c %s %s", i, e.Typeflag, e.Name, e.Linkname))
			}
		}
		if ok {
			valid++
		}
		compareWithModel(t, seed, layers, m, ok, log)
		if t.Failed() {
			return
		}
	}
	if valid < 150 {
		t.Errorf("only %d random images were valid", valid)
	}
}

func compareWithModel(t *testing.T, seed uint64, layers []unpack.Layer, m model, valid bool, log []string) {
	t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
		s, _ := openStore(t)
		lowerdirs, err := s.Unpack(t.Context(), layers, nil)
		if (err == nil) != valid {
			t.Fatalf("valid is %v, got error %v\n%s", valid, err, strings.Join(log, "\n"))
		}
		if !valid {
			return
		}
		pulled(t, s, "docker.io/library/x:1", layers...)
		verified, err := s.Verify(t.Context())
		if err != nil || len(verified.Problems) > 0 {
			t.Errorf("verify: %v %v\n%s", err, verified.Problems, strings.Join(log, "\n"))
		}
		got := snapshot(t, overlay(t, lowerdirs))
		for p, n := range got {
			n.Nlink = 0
			got[p] = n
		}
		want := map[string]node{}
		for p, n := range m {
			want[p] = *n
			want[p] = withoutNlink(want[p])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("merged view differs (-model +mounted):\n%s\n%s", diff, strings.Join(log, "\n"))
		}
	})
}

func withoutNlink(n node) node { n.Nlink = 0; return n }
