package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxIncluded bounds how many files a pipeline includes, and maxIncludeDepth how deep they
	// include each other.
	maxIncluded     = 50
	maxIncludeDepth = 8
	// maxIncludedText bounds the bytes of all included files: those that are broken cost the most to
	// read, half a second for each MiB.
	maxIncludedText = 4 << 20
)

// Includer reads a file that a pipeline includes. The name is relative to the folder of the pipeline's
// file and has no "..". It must not follow links out of that folder.
type Includer func(name string) ([]byte, error)

// includer puts the parts of included files in front of those of the file that includes them.
type includer struct {
	reader
	open  Includer
	taken map[string]string // names of included files, to the file that includes each
	text  int               // bytes of all included files
	cost  int               // bytes, about, of all included files with their aliases written out
}

// includes replaces the key include of a file by what it names: steps, services and volumes of the
// included files come before the file's own. dir is the file's folder, relative to that of the
// pipeline's file.
func (in *includer) includes(root *node, dir string, depth int) {
	at := slices.IndexFunc(root.pairs, func(p pair) bool { return p.name == "include" })
	if at < 0 {
		return
	}
	key := value{node: root}.field(root.pairs[at])
	root.pairs = slices.Delete(slices.Clone(root.pairs), at, at+1)
	var names []value
	if in.filled(key, func(v value) string { names = append(names, v); return "" }); len(names) == 0 {
		return
	}
	if in.open == nil {
		in.misplaced(key, "no files can be included here", "write the steps in this file")
		return
	}
	if depth >= maxIncludeDepth {
		in.misplaced(key, fmt.Sprintf("files include each other deeper than the %d levels allowed", maxIncludeDepth), "")
		return
	}
	var before []*node
	for _, v := range names {
		if n := in.file(v, dir, depth); n != nil {
			before = append(before, n)
		}
	}
	for _, name := range []string{"steps", "services", "volumes"} {
		in.join(root, name, before)
	}
}

// file reads the file that v names, with what it includes itself.
func (in *includer) file(v value, dir string, depth int) *node {
	text := in.word(v)
	name := path.Join(dir, text)
	first, twice := in.taken[name]
	switch {
	case text == "":
		return nil
	case path.IsAbs(text) || !filepath.IsLocal(name) || strings.ContainsRune(text, '\\'):
		in.wrong(v, fmt.Sprintf("%q leads out of the folder of the pipeline", text), "write a path relative to this file, beneath that folder")
		return nil
	case twice:
		in.wrong(v, fmt.Sprintf("%s is already included by %s", name, first), "include each file once")
		return nil
	case len(in.taken) > maxIncluded:
		in.wrong(v, fmt.Sprintf("more than the %d files allowed are included", maxIncluded), "")
		return nil
	}
	in.taken[name] = in.name(v)
	data, err := in.open(name)
	if err != nil {
		var system *fs.PathError
		if errors.As(err, &system) {
			err = system.Err
		}
		in.wrong(v, fmt.Sprintf("include %s: %v", name, err), "")
		return nil
	}
	if in.text += len(data); in.text > maxIncludedText {
		if in.text-len(data) <= maxIncludedText { // once
			in.wrong(v, fmt.Sprintf("all included files together are larger than %d MiB", maxIncludedText>>20), "")
		}
		return nil
	}
	shown := filepath.Join(filepath.Dir(in.reader.file), name)
	root, errs := load(shown, data)
	for _, e := range errs {
		in.errs.add(e)
	}
	if root == nil || len(errs) > 0 {
		return nil
	}
	if in.cost += root.cost; in.cost > maxCost {
		in.wrong(v, fmt.Sprintf("all included files together mean more than %d MiB", maxCost>>20), "")
		return nil
	}
	root.mark(shown, map[*node]bool{})
	if root.kind != mapKind {
		in.wrongType(value{node: root}, "a map")
		return nil
	}
	in.checkKeys(root)
	in.includes(root, path.Dir(name), depth+1)
	return root
}

// name is that of the file that a value stands in.
func (in *includer) name(v value) string {
	if v.file != "" {
		return v.file
	}
	return in.reader.file
}

// checkKeys reports the keys that an included file may not have. What holds for the whole pipeline is
// in its own file, so that including a file does not change the steps that are there.
func (in *includer) checkKeys(root *node) {
	known := []string{"include", "services", "steps", "volumes"}
	for _, p := range root.pairs {
		v := value{node: root}.field(p)
		_, ofPipeline := (&parser{}).topFields(&Pipeline{})[p.name]
		switch {
		case slices.Contains(known, p.name), strings.HasPrefix(p.name, "x-"):
		case ofPipeline:
			in.misplaced(v, "only the pipeline's own file can have this key", "an included file has steps, services, volumes and include")
		default:
			in.misplaced(v, "unknown key", hintOf(p.name, known))
		}
	}
}

// join puts the values that included files have for a key in front of the root's own. All of them must
// be lists, or all maps.
func (in *includer) join(root *node, name string, before []*node) {
	var all []*node
	for _, n := range append(slices.Clone(before), root) {
		v, given := value{node: n}.get(name)
		if given && v.kind != listKind && v.kind != mapKind {
			if n != root { // that of the root is reported when it is read
				in.wrongType(v, "a list or a map")
			}
			return
		}
		if given {
			all = append(all, v.node)
		}
	}
	if len(all) == 0 {
		return
	}
	joined := *all[len(all)-1]
	joined.items, joined.pairs = nil, nil
	for _, n := range all {
		if n.kind != joined.kind {
			in.wrong(value{node: n, step: name}, fmt.Sprintf("must be a %s", joined.kind), fmt.Sprintf("%s of all files that are put together are lists, or all are maps", name))
			return
		}
		for i, item := range n.items {
			placed := *item
			placed.at = cmp.Or(item.at, i+1)
			if name != "volumes" || !slices.ContainsFunc(joined.items, func(other *node) bool { return other.text == item.text }) {
				joined.items = append(joined.items, &placed)
			}
		}
		joined.pairs = append(joined.pairs, n.pairs...)
	}
	at := slices.IndexFunc(root.pairs, func(p pair) bool { return p.name == name })
	if at < 0 {
		root.pairs = append(root.pairs, pair{name: name, line: joined.line, column: joined.column, value: &joined})
		return
	}
	root.pairs[at].value = &joined
}

// mark notes in each node of a tree the file that it stands in.
func (n *node) mark(file string, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	n.file = file
	for _, item := range n.items {
		item.mark(file, seen)
	}
	for _, p := range n.pairs {
		p.value.mark(file, seen)
	}
}
