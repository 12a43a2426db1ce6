package unpack_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"
)

// randomSamples are images as builders write them, every one with a few layers.
func randomSamples() []sample {
	var samples []sample
	for seed := range uint64(12) {
		b := builder{Rand: rand.New(rand.NewPCG(seed, 11)), tree: map[string]string{".": "dir"}}
		s := image(fmt.Sprint("random", seed))
		for range 3 + b.IntN(3) {
			s.layers = append(s.layers, b.layer())
		}
		samples = append(samples, s)
	}
	return samples
}

// A builder makes layers the way a build does: each one is a change of the tree that those below it make. It
// removes only what a lower layer has, and does not name a path twice.
type builder struct {
	*rand.Rand
	tree    map[string]string // path to type, of all layers so far
	entries []entry           // of the layer
	own     map[string]bool   // paths that the layer has named
	serial  int
}

func (b *builder) layer() []entry {
	b.entries, b.own = layer(), map[string]bool{".": true}
	lower := maps.Clone(b.tree)
	for range 6 + b.IntN(10) {
		switch b.IntN(10) {
		case 0:
			b.remove(b.pick(lower, "dir", "file", "symlink", "fifo", "char"))
		case 1:
			b.empty(b.pick(lower, "dir"))
		case 2:
			b.replace(b.pick(lower, "dir", "file", "symlink", "fifo"))
		case 3:
			b.link()
		default:
			b.add(path.Join(b.pick(b.tree, "dir"), b.name()))
		}
	}
	return b.entries
}

// pick chooses a path of one of the types that the layer has not replaced.
func (b *builder) pick(tree map[string]string, kinds ...string) string {
	var paths []string
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		if b.tree[p] == tree[p] && slices.Contains(kinds, tree[p]) {
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return "."
	}
	return paths[b.IntN(len(paths))]
}

func (b *builder) name() string {
	b.serial++
	name := fmt.Sprintf("n%d", b.serial)
	if b.IntN(12) == 0 {
		name += strings.Repeat("-long", 40)
	}
	return name
}

// touched reports whether the layer names the path or one below it.
func (b *builder) touched(p string) bool {
	for own := range b.own {
		if own == p || strings.HasPrefix(own, p+"/") {
			return true
		}
	}
	return false
}

func (b *builder) forget(p string) {
	for known := range b.tree {
		if strings.HasPrefix(known, p+"/") {
			delete(b.tree, known)
		}
	}
}

func (b *builder) remove(p string) {
	if b.touched(p) {
		return
	}
	b.parents(p)
	b.forget(p)
	delete(b.tree, p)
	b.own[p] = true
	b.entries = append(b.entries, whiteout(path.Join(path.Dir(p), ".wh."+path.Base(p))))
}

// empty makes a directory opaque.
func (b *builder) empty(p string) {
	if b.touched(p) {
		return
	}
	b.forget(p)
	b.parents(p)
	b.own[p] = true
	b.entries = append(b.entries, dir(p, b.options()...), whiteout(p+"/.wh..wh..opq"))
}

// replace puts something of another type in the place of p.
func (b *builder) replace(p string) {
	if b.touched(p) {
		return
	}
	b.forget(p)
	b.add(p)
}

// parents declares the directories above p, as builders do, or leaves it to the unpacker to know them.
func (b *builder) parents(p string) {
	parent := path.Dir(p)
	if b.own[parent] {
		return
	}
	b.parents(parent)
	if b.IntN(4) > 0 {
		b.own[parent] = true
		b.entries = append(b.entries, dir(parent, b.options()...))
	}
}

func (b *builder) add(p string) {
	b.parents(p)
	b.own[p] = true
	opts := b.options()
	switch b.IntN(9) {
	case 0, 1, 2:
		b.tree[p] = "dir"
		b.entries = append(b.entries, dir(p, opts...))
	case 3:
		b.tree[p] = "symlink"
		b.entries = append(b.entries, symlink(p, b.pick(b.tree, "dir", "file"), opts...))
	case 4:
		b.tree[p] = "fifo"
		b.entries = append(b.entries, fifo(p, opts...))
	case 5:
		b.tree[p] = "char"
		b.entries = append(b.entries, char(p, 1, 1+int64(b.IntN(9)), opts...))
	default:
		b.tree[p] = "file"
		b.entries = append(b.entries, file(p, strings.Repeat(p, b.IntN(200)), append(opts, xattr("user.n", p))...))
	}
}

// link gives a file of the layer a second name.
func (b *builder) link() {
	for _, e := range slices.Backward(b.entries) {
		if !strings.Contains(e.Name, ".wh.") && b.tree[e.Name] == "file" {
			p := path.Join(b.pick(b.tree, "dir"), b.name())
			b.parents(p)
			b.own[p] = true
			b.tree[p] = "file"
			second := link(p, e.Name)
			second.Mode, second.Uid, second.Gid, second.ModTime = e.Mode, e.Uid, e.Gid, e.ModTime
			b.entries = append(b.entries, second)
			return
		}
	}
}

func (b *builder) options() []option {
	return []option{
		mode([]int64{0o644, 0o4755, 0o1777, 0o2750, 0}[b.IntN(5)]), owner(b.IntN(3), b.IntN(3)),
		at(time.Unix(int64(b.IntN(1e9)), int64(b.IntN(1e9)))),
	}
}
