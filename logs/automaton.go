package logs

import (
	"bytes"
	"slices"
)

// automaton finds every occurrence of any of a set of patterns in one pass (Aho and Corasick,
// "Efficient string matching", CACM 18(6), 1975).
//
// States are numbered in breadth-first order, so the children of a state are neighbours and a state
// costs 17 bytes: a secret of 100 KiB with all its encodings takes some 20 MB. State 0 is the root.
type automaton struct {
	root  [256]uint32 // the root's child for a byte, or 0
	first []uint32    // the children of s are the states first[s] to first[s+1]-1
	label []byte      // the byte that leads into s
	fail  []uint32    // the longest proper suffix of s that is a state
	depth []uint32    // how many bytes lead from the root to s
	match []uint32    // the length of the longest pattern that is a suffix of s, or 0
	skip  skipTable
}

// newAutomaton builds the automaton of patterns, none of which may be shorter than minSecret.
func newAutomaton(patterns []string) *automaton {
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	a := &automaton{skip: newSkipTable(patterns)}
	a.growTrie(patterns)
	for c := a.first[0]; c < a.first[1]; c++ {
		a.root[a.label[c]] = c
	}
	a.linkSuffixes()
	return a
}

// growTrie makes the states. A state stands for a range of the sorted patterns that share a prefix.
func (a *automaton) growTrie(sorted []string) {
	type prefix struct{ lo, hi int }
	queue := []prefix{{0, len(sorted)}}
	a.label, a.depth = []byte{0}, []uint32{0}
	for s := 0; s < len(queue); s++ {
		lo, hi, depth := queue[s].lo, queue[s].hi, int(a.depth[s])
		length := uint32(0)
		if lo < hi && len(sorted[lo]) == depth {
			length = uint32(depth)
			lo++
		}
		a.match = append(a.match, length)
		a.first = append(a.first, uint32(len(queue)))
		for lo < hi {
			b, end := sorted[lo][depth], lo+1
			for end < hi && sorted[end][depth] == b {
				end++
			}
			queue = append(queue, prefix{lo, end})
			a.label = append(a.label, b)
			a.depth = append(a.depth, uint32(depth)+1)
			lo = end
		}
	}
	a.first = append(a.first, uint32(len(queue)))
}

// linkSuffixes sets fail and lets every state know the longest pattern that ends in it.
func (a *automaton) linkSuffixes() {
	a.fail = make([]uint32, len(a.label))
	for s := range uint32(len(a.label)) {
		for c := a.first[s]; c < a.first[s+1]; c++ {
			if s != 0 {
				a.fail[c] = a.next(a.fail[s], a.label[c])
			}
			if a.match[c] == 0 {
				a.match[c] = a.match[a.fail[c]]
			}
		}
	}
}

// next is the state after byte b in state s.
func (a *automaton) next(s uint32, b byte) uint32 {
	for s != 0 {
		first := a.first[s]
		if i := bytes.IndexByte(a.label[first:a.first[s+1]], b); i >= 0 {
			return first + uint32(i)
		}
		s = a.fail[s]
	}
	return a.root[b]
}
