package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/yamlfault"
)

const (
	maxFileSize = 1 << 20
	// An alias bomb is a small file that means gigabytes: what it means is
	// added up before any of it is written out, and this is the limit.
	maxCost   = 16 << 20
	nodeCost  = 256
	maxHeight = 100
)

// ReadFile reads a pipeline file. It stops one byte beyond the size that Parse allows, so that
// a device or a huge file cannot take all memory.
func ReadFile(name string) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return nil, fmt.Errorf("%s is a pipe, which can be read only once (write the pipeline to a file)", name)
	}
	return io.ReadAll(io.LimitReader(file, maxFileSize+1))
}

// loader turns YAML into nodes.
type loader struct {
	errs Errors
	file string
	done map[*yaml.Node]*node // nil while the node is being converted
	cost int                  // of merge keys so far, which copy pairs
	bomb bool                 // the limit is passed and reported
	deep bool                 // too many levels are reported

	aliases bool           // the file has some
	bangs   map[place]bool // where a lone ! stands
	splices bool           // an item <<: *LIST of a list stands for the items of that list
}

// place is a line and a column of a file, both from 1 on, the column in characters.
type place struct{ line, column int }

// load returns the root of the file's only document.
func load(file string, data []byte) (*node, Errors) {
	l := &loader{file: file, done: map[*yaml.Node]*node{}, bangs: loneBangs(data)}
	document := l.document(data)
	if document == nil {
		return nil, l.errs
	}
	root := l.convert(document)
	if root.kind == nullKind && len(l.errs) == 0 {
		l.fail(1, 1, "the file is empty", "a pipeline needs at least steps")
	}
	return root, l.errs
}

func (l *loader) fail(line, column int, message, hint string) {
	l.errs.add(&Error{File: l.file, Line: line, Column: column, Message: message, Hint: hint})
}

// loadAll returns the roots of the documents of a file.
func loadAll(file string, data []byte, splices bool) ([]*node, Errors) {
	l := &loader{file: file, done: map[*yaml.Node]*node{}, bangs: loneBangs(data), splices: splices}
	if !l.checked(data) {
		return nil, l.errs
	}
	var roots []*node
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); len(l.errs) == 0; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			l.syntax(err, data)
			break
		}
		root := l.convert(document.Content[0])
		if l.cost += root.cost; l.cost > maxCost {
			l.tooMuch(root)
		}
		roots = append(roots, root)
	}
	return roots, l.errs
}

// checked reports whether the bytes can be YAML at all.
func (l *loader) checked(data []byte) bool {
	if len(data) > maxFileSize {
		l.fail(1, 1, fmt.Sprintf("the file has more than the %d bytes allowed", maxFileSize), "")
		return false
	}
	if e := checkText(data); e != nil {
		l.fail(e.Line, e.Column, e.Message, e.Hint)
		return false
	}
	return true
}

// document checks the bytes and returns the root of the only document, or nil
// after reporting why there is none.
func (l *loader) document(data []byte) *yaml.Node {
	if !l.checked(data) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		l.fail(1, 1, "the file is empty", "a pipeline needs at least steps")
		return nil
	case err != nil:
		l.syntax(err, data)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		l.fail(second.Line, second.Column, "the file has more than one document",
			"a pipeline file is one document; remove the --- or split the file")
		return nil
	case !errors.Is(err, io.EOF):
		l.syntax(err, data)
		return nil
	}
	return first.Content[0]
}

func (l *loader) syntax(err error, data []byte) {
	f := yamlfault.Explain(data, err)
	l.fail(f.Line, f.Column, "not valid YAML: "+f.Message, f.Hint)
}

// convert turns a YAML node into ours. After an error it goes on with null in
// the place of what is wrong, so that one run finds all errors.
func (l *loader) convert(y *yaml.Node) *node {
	l.aliases = l.aliases || y.Kind == yaml.AliasNode
	y = resolve(y)
	if l.bomb {
		return &node{kind: nullKind, line: y.Line, column: y.Column}
	}
	if n, seen := l.done[y]; seen {
		if n == nil {
			l.fail(y.Line, y.Column, fmt.Sprintf("anchor %q contains itself", y.Anchor), "")
			return &node{kind: nullKind, line: y.Line, column: y.Column}
		}
		return n
	}
	l.done[y] = nil
	n := &node{line: y.Line, column: y.Column, cost: nodeCost + len(y.Value)}
	switch {
	case y.Kind == yaml.SequenceNode && y.ShortTag() == "!!seq":
		n.kind = listKind
		l.list(n, y)
	case y.Kind == yaml.MappingNode && y.ShortTag() == "!!map":
		n.kind = mapKind
		l.mapping(n, y)
	default:
		l.scalar(n, y)
	}
	l.done[y] = n
	return n
}

// resolve returns what an alias stands for.
func resolve(y *yaml.Node) *yaml.Node {
	if y.Kind == yaml.AliasNode {
		return y.Alias
	}
	return y
}

func (l *loader) scalar(n *node, y *yaml.Node) {
	n.kind, n.text, n.plain = nullKind, y.Value, y.Style == 0
	if l.losesBang(y) {
		l.fail(y.Line, y.Column, "YAML takes the ! for a tag, and the value would lose it", "put it in quotes: "+inQuotes("! "+y.Value))
		return
	}
	switch y.ShortTag() {
	case "!!str", "!!timestamp", "!!merge":
		n.kind = textKind
	case "!!int", "!!float":
		n.kind = numberKind
	case "!!bool":
		n.kind = booleanKind
	case "!!null":
	default:
		l.fail(y.Line, y.Column, fmt.Sprintf("tag %q is not supported", y.Tag), "remove it")
	}
}

// losesBang reports whether a lone ! stands in front of a value, as in "- ! grep -q x file". It is
// YAML's non-specific tag, which the library drops: the command would mean its opposite.
func (l *loader) losesBang(y *yaml.Node) bool { return l.bangs[place{y.Line, y.Column}] }

// loneBangs returns the places of every ! that white space follows. A line may have as many values as the
// file has room for, so none of them looks at the line anew.
func loneBangs(data []byte) map[place]bool {
	bangs := map[place]bool{}
	at := place{1, 1}
	for i := 0; i < len(data); at.column++ {
		switch _, size := utf8.DecodeRune(data[i:]); {
		case data[i] == '\n':
			at = place{at.line + 1, 0}
			i++
		case data[i] == '!' && i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t'):
			bangs[at] = true
			i++
		default:
			i += size
		}
	}
	return bangs
}

// inQuotes is a text as YAML has it in single quotes.
func inQuotes(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (l *loader) list(n *node, y *yaml.Node) {
	for _, item := range y.Content {
		if lists := l.spliced(item); lists != nil {
			for _, list := range lists {
				n.items = append(n.items, l.below(n, l.convert(list)).items...)
			}
			continue
		}
		n.items = append(n.items, l.below(n, l.convert(item)))
	}
}

// spliced are the lists whose items an item of a list stands for: that of <<: *LIST, or
// those of <<: [*LIST, *LIST].
func (l *loader) spliced(item *yaml.Node) []*yaml.Node {
	item = resolve(item)
	if !l.splices || item.Kind != yaml.MappingNode || len(item.Content) != 2 || !isMerge(resolve(item.Content[0])) {
		return nil
	}
	value := item.Content[1]
	if value.Kind == yaml.AliasNode && value.Alias.Kind == yaml.SequenceNode {
		return []*yaml.Node{value.Alias}
	}
	var lists []*yaml.Node
	for _, list := range value.Content {
		if list = resolve(list); list.Kind != yaml.SequenceNode {
			return nil
		}
		lists = append(lists, list)
	}
	return lists
}

// below adds the child's cost and height to its parent's.
func (l *loader) below(parent, child *node) *node {
	if parent.cost+child.cost > maxCost {
		l.tooMuch(parent)
		return &node{kind: nullKind, line: child.line, column: child.column}
	}
	if child.height >= maxHeight {
		if !l.deep { // the levels around are too many as well
			l.fail(child.line, child.column, fmt.Sprintf("nested more than %d levels deep", maxHeight), "")
			l.deep = true
		}
		return &node{kind: nullKind, line: child.line, column: child.column}
	}
	parent.cost += child.cost
	parent.height = max(parent.height, child.height+1)
	return child
}

// tooMuch is the last error: what follows it would be about the nodes left out.
func (l *loader) tooMuch(n *node) {
	if l.bomb {
		return
	}
	l.bomb = true
	message, hint := fmt.Sprintf("the file means more than %d MiB once its aliases are written out", maxCost>>20), "use fewer aliases of aliases"
	if !l.aliases {
		message, hint = fmt.Sprintf("the file has more than some %d values", maxCost/nodeCost), "split it, or write fewer and longer values"
	}
	l.fail(n.line, n.column, message, hint)
}

// mapping resolves merge keys on the way: a key written out wins over merged
// ones, and of the merged ones the first.
func (l *loader) mapping(n *node, y *yaml.Node) {
	written := map[string]*yaml.Node{}
	for i := 0; i < len(y.Content); i += 2 {
		key := resolve(y.Content[i])
		switch first := written[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			hint := ""
			if key.Style&yaml.FlowStyle != 0 {
				hint = "put a text that begins with { or [ in quotes"
			}
			l.fail(key.Line, key.Column, "a key must be a string", hint)
		case first != nil:
			hint := ""
			if isMerge(key) {
				hint = "to merge several maps write <<: [*a, *b]"
			}
			l.fail(key.Line, key.Column, fmt.Sprintf("duplicate key %q, first at line %d", key.Value, first.Line), hint)
		default:
			written[key.Value] = key
		}
	}
	taken := map[string]bool{}
	for i := 0; i < len(y.Content); i += 2 {
		key := resolve(y.Content[i])
		if key.Kind != yaml.ScalarNode || written[key.Value] != key {
			continue
		}
		value := l.convert(y.Content[i+1])
		if isMerge(key) {
			l.merge(n, key, value, func(name string) bool { return written[name] != nil || taken[name] }, taken)
			continue
		}
		n.cost += len(key.Value)
		n.pairs = append(n.pairs, pair{key.Value, key.Line, key.Column, l.below(n, value)})
	}
}

func isMerge(key *yaml.Node) bool { return key.ShortTag() == "!!merge" }

// merge adds the pairs of the map, or maps, that a merge key names.
func (l *loader) merge(n *node, key *yaml.Node, from *node, has func(string) bool, taken map[string]bool) {
	maps := []*node{from}
	if from.kind == listKind {
		maps = from.items
	}
	for _, m := range maps {
		if l.bomb {
			return
		}
		if m.kind != mapKind {
			l.fail(key.Line, key.Column, fmt.Sprintf("<< takes a map or a list of maps, not a %s", m.kind), "")
			continue
		}
		for _, p := range m.pairs {
			if l.cost += nodeCost; l.cost > maxCost {
				l.tooMuch(n)
				return
			}
			if !has(p.name) {
				taken[p.name] = true
				p.value = l.below(n, p.value)
				n.pairs = append(n.pairs, p)
			}
		}
	}
}
