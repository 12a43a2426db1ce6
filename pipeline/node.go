package pipeline

// kind is the type of a node, in the words of the messages.
type kind string

const (
	nullKind    kind = "null"
	textKind    kind = "string"
	numberKind  kind = "number"
	booleanKind kind = "boolean"
	listKind    kind = "list"
	mapKind     kind = "map"
)

// node is a part of the file with aliases and merge keys already resolved.
// Nodes behind an anchor are shared, so they are never changed.
type node struct {
	kind         kind
	text         string // of a scalar, exactly as written
	plain        bool   // a scalar without quotes
	line, column int
	file         string  // of an included file; "" in the one that is read
	at           int     // place in the list of its own file, from 1; 0: that in the list it is in
	items        []*node // of a list
	pairs        []pair  // of a map, in the order of the file

	cost   int // bytes, about, of the tree below with every alias written out
	height int // levels below
}

type pair struct {
	name         string
	line, column int
	value        *node
}

func (n *node) scalar() bool {
	return n.kind == textKind || n.kind == numberKind || n.kind == booleanKind
}
