package pipeline

import "strings"

// Source is a YAML file of another format while it is read into a [Pipeline]. It has the
// limits, the anchors and merge keys and the messages of native files: what is wrong is
// noted with its line, column and key, and reading goes on.
type Source struct {
	reader
	splices bool
}

// Node is a part of a [Source] with the way to it.
type Node struct{ value }

// Entry is a key of a map with its value.
type Entry struct {
	Name string
	Node
}

// ReadSource returns the documents of a file. Those that are empty are left out.
func ReadSource(file string, data []byte) (*Source, []Node) {
	s := &Source{reader: reader{file: file}}
	return s, s.Read(data)
}

// ReadSplicing is ReadSource, but that an item <<: *LIST of a list stands for the items of
// that list.
func ReadSplicing(file string, data []byte) (*Source, []Node) {
	s := &Source{reader: reader{file: file}, splices: true}
	return s, s.Read(data)
}

// Read returns the documents of another text of the same file.
func (s *Source) Read(data []byte) []Node {
	roots, errs := loadAll(s.file, data, s.splices)
	for _, e := range errs {
		s.errs.add(e)
	}
	var documents []Node
	for _, root := range roots {
		if root.kind != nullKind {
			documents = append(documents, Node{value{node: root}})
		}
	}
	return documents
}

// Err is an [Errors] with everything that is wrong, sorted, or nil.
func (s *Source) Err() error { return s.errs.result() }

// Take returns everything that is wrong so far, sorted, and forgets it.
func (s *Source) Take() Errors {
	_ = s.errs.result() // sorts the list, which is the result
	taken := s.errs
	s.errs = nil
	return taken
}

// Fail notes what is wrong with the file as a whole.
func (s *Source) Fail(message, hint string) {
	s.errs.add(&Error{File: s.file, Message: message, Hint: hint})
}

// Wrong notes what is wrong with a value, at the value.
func (s *Source) Wrong(n Node, message, hint string) { s.wrong(n.value, message, hint) }

// Misplaced notes what is wrong with a key, at the key.
func (s *Source) Misplaced(n Node, message, hint string) { s.misplaced(n.value, message, hint) }

// Missing notes that a map lacks a key.
func (s *Source) Missing(n Node, key string) { s.missing(n.value, key) }

// Report notes an error about a value.
func (s *Source) Report(n Node, err error) { s.report(n.value, err) }

// WrongType notes that a value is not what was wanted, such as "a string".
func (s *Source) WrongType(n Node, want string) { s.wrongType(n.value, want) }

// Text is the text of a string, number or boolean as it is in the file.
func (s *Source) Text(n Node) string { return s.scalar(n.value) }

// Pattern is the text of a pattern as [Match] has it.
func (s *Source) Pattern(n Node) string { return s.pattern(n.value) }

// Kind is null, string, number, boolean, list or map.
func (n Node) Kind() string { return string(n.kind) }

// Raw is the text of a scalar as it is in the file, and "" of the others.
func (n Node) Raw() string { return n.text }

// Plain reports whether a scalar has no quotes.
func (n Node) Plain() bool { return n.plain }

// Position is that of the key.
func (n Node) Position() Position { return n.position() }

// Items are those of a list, and nil of everything else.
func (n Node) Items() []Node {
	var items []Node
	for i := range n.items {
		items = append(items, Node{n.item(i)})
	}
	return items
}

// Entries are those of a map in the order of the file, and nil of everything else.
func (n Node) Entries() []Entry {
	var entries []Entry
	for _, p := range n.pairs {
		entries = append(entries, Entry{p.name, Node{n.field(p)}})
	}
	return entries
}

// Get returns the value of a key.
func (n Node) Get(key string) (Node, bool) {
	v, found := n.get(key)
	return Node{v}, found
}

// DidYouMean is a hint that names the candidate which word may be a slip of, or "".
func DidYouMean(word string, candidates []string) string { return didYouMean(word, candidates) }

// Setting reads any value. Scalar says how a scalar is written, and whether JSON has it
// without quotes.
func (s *Source) Setting(n Node, scalar func(Node) (text string, bare bool)) Setting {
	out := Setting{Position: n.Position()}
	switch n.Kind() {
	case "null":
		out.Value.Text, out.Bare = "null", true
	case "list":
		out.List = []Setting{}
		for _, item := range n.Items() {
			out.List = append(out.List, s.Setting(item, scalar))
		}
	case "map":
		if secret, given := n.Get("from_secret"); given {
			out.Value.FromSecret = s.Text(secret)
			break
		}
		out.Map = []Setting{}
		for _, e := range n.Entries() {
			entry := s.Setting(e.Node, scalar)
			entry.Name = e.Name
			out.Map = append(out.Map, entry)
		}
	default:
		out.Value.Text, out.Bare = scalar(n)
	}
	return out
}

// ListedSecrets reads a list of secrets as steps had it in files of Drone 0.x and of Woodpecker
// before version 2: a name, or source and target. ReadMap reads a map by its keys. Use receives each
// secret with the name of its variable, in upper case.
func (s *Source) ListedSecrets(n Node, readMap func(Node, map[string]func(Node)), use func(item Node, secret, variable string)) {
	if n.Kind() != "list" {
		s.WrongType(n, "a list")
		return
	}
	for _, item := range n.Items() {
		source, target := "", ""
		if item.Kind() == "map" {
			readMap(item, map[string]func(Node){
				"source": func(n Node) { source = s.Text(n) },
				"target": func(n Node) { target = s.Text(n) },
			})
		} else {
			source = s.Text(item)
			target = source
		}
		if source == "" || target == "" {
			s.Wrong(item, "names no secret and variable", "write a name, or source: NAME and target: VARIABLE")
			continue
		}
		use(item, source, strings.ToUpper(target))
	}
}
