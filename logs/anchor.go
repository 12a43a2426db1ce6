package logs

import (
	"bytes"
	"cmp"
	"encoding/binary"
)

// anchor is what an index keeps of a form of a secret, in one number. From the highest bit: the first
// four bytes of the form as a person reads it, its key; the secret's number; the form; whether other forms
// of the secret begin in the same way.
type anchor uint64

const (
	isShared   = 1
	formBits   = 6
	secretBits = 32 - formBits - isShared
)

func newAnchor(b *beginning, secret int, f form, shared bool) anchor {
	a := anchor(b.key())<<32 | anchor(secret)<<(formBits+isShared) | anchor(f)<<isShared
	if shared {
		a |= isShared
	}
	return a
}

func (a anchor) key() uint32 { return uint32(a >> 32) }
func (a anchor) secret() int { return int(a >> (formBits + isShared) & (1<<secretBits - 1)) }
func (a anchor) form() form  { return form(a >> isShared & (1<<formBits - 1)) }

// maxAnchor is how many bytes of a form are looked up. What follows them is compared piece by piece.
const maxAnchor = 16

// beginning is the first bytes of a form, as a person reads them.
type beginning struct {
	text [maxAnchor]byte // bytes from n on are zero
	n    uint8           // length in bytes; of the whole form, if it is below maxAnchor
}

// key is the first four bytes as a number, in the order of the bytes.
func (b *beginning) key() uint32 { return binary.BigEndian.Uint32(b.text[:]) }

// compare orders beginnings by their bytes, a shorter one before those that begin with it: no visible text
// has the NUL that fills it up.
func (b *beginning) compare(o *beginning) int {
	if c := bytes.Compare(b.text[:], o.text[:]); c != 0 {
		return c
	}
	return cmp.Compare(b.n, o.n)
}

// beginning returns how the form of a secret begins.
func (f form) beginning(secret string) (b beginning) {
	var room [64]byte
	dst := room[:0]
	if n := f.enough(); len(secret) > n && isPrintableASCII(secret[:n]) {
		dst, _ = f.encode(dst, secret[:n], 0)
		b.n = uint8(copy(b.text[:], f.searched(dst)))
		return b
	}
	for from := 0; from < len(secret) && len(dst) < maxAnchor; {
		start := len(dst)
		dst, from = f.encode(dst, secret, from)
		dst = append(dst[:start], f.searched(dst[start:])...)
	}
	b.n = uint8(copy(b.text[:], dst))
	return b
}

// enough is a number of printable characters whose form has at least maxAnchor bytes.
func (f form) enough() int {
	switch {
	case f >= base64First && f < base32First:
		return 24 // a quarter of it may be "+", which is left out
	case f == lettersForm:
		return maxAnchor + 1 // of some it has nothing but the comma
	case f >= hexFirst:
		return 8
	}
	return maxAnchor
}

// alike returns forms among which are all those that, for some secret, begin as f does because both leave
// the same characters as they are.
func (f form) alike() formSet {
	for _, set := range []formSet{between(plainForm, base64First), between(base64First, base32First), between(base32First, hexFirst)} {
		if set.has(f) {
			return set
		}
	}
	return between(hexFirst, formCount)
}

// beginnings are the ways in which the forms of a secret begin, each once, and the first form of each.
type beginnings struct {
	n      int
	all    [formCount]beginning
	forms  [formCount]form
	shared formSet // those of forms whose beginning is also that of another one
}

// of fills in the beginnings of a secret.
func (b *beginnings) of(s *source) {
	b.n, b.shared = 0, 0
	for f := range s.forms.all {
		begin := f.beginning(s.text)
		if int(begin.n) < f.shortest() {
			continue
		}
		if same := b.find(&begin, f.alike()); same >= 0 {
			b.shared |= 1 << b.forms[same]
			continue
		}
		b.all[b.n], b.forms[b.n] = begin, f
		b.n++
	}
}

// find returns the number of a beginning, if it is that of one of some forms, and -1 otherwise.
func (b *beginnings) find(begin *beginning, of formSet) int {
	for i := range b.n {
		if b.all[i] == *begin && of.has(b.forms[i]) {
			return i
		}
	}
	return -1
}

// shortest is the length of the shortest beginning, in bytes.
func (b *beginnings) shortest() int {
	n := maxAnchor
	for i := range b.n {
		n = min(n, int(b.all[i].n))
	}
	return n
}
