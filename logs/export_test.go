package logs

// VisibleForms and Encodings are the forms of a secret in full that are searched in the visible and in the
// unescaped text, for the reference implementation in the tests.
func VisibleForms(secret string) []string { return written(secret, 1<<plainForm|1<<lowerForm) }
func Encodings(secret string) []string    { return written(secret, encodings(secret)) }

// Quotings are what is searched in the visible text of a secret of which too little is left in the unescaped one.
func Quotings(secret string) (all []string) {
	for _, text := range quotings(secret) {
		all = append(all, string(visibleBytes([]byte(text))))
	}
	return all
}

func written(secret string, forms formSet) (all []string) {
	for f := range forms.all {
		var text []byte
		for from := 0; from < len(secret); {
			text, from = f.encode(text, secret, from)
		}
		if text = f.searched(text); len(text) >= f.shortest() {
			all = append(all, string(text))
		}
	}
	return all
}

// SecretLines are the lines of a secret that are masked on their own.
var SecretLines = lines

// Unescaped is a visible text without quoting, read in two parts, and for each of its bytes the place in the visible
// text that it stands for.
func Unescaped(visible string, firstPart int) (text string, from []int) {
	u := unescaped{run: -1}
	u.read([]byte(visible[:firstPart]), false)
	u.read([]byte(visible), true)
	for i := range u.text {
		from = append(from, u.from([]byte(visible), i))
	}
	return string(u.text), from
}

// UnescapedPlace returns the first place in the unescaped text that stands at or behind one in the visible text.
func UnescapedPlace(visible string, at int) int {
	u := unescaped{run: -1}
	u.read([]byte(visible), true)
	return u.place([]byte(visible), at)
}

// DropUnescaped is Unescaped after the first n bytes of the unescaped text, and what they stand for, were dropped.
func DropUnescaped(visible string, n int) (text string, from []int) {
	u := unescaped{run: -1}
	u.read([]byte(visible), true)
	gone := u.begin([]byte(visible), n)
	u.drop(n, gone, gone)
	for i := range u.text {
		from = append(from, gone+u.from([]byte(visible[gone:]), i))
	}
	return string(u.text), from
}

// Masked says which bytes of a text are masked that is searched as a whole.
func (m *Mask) Masked(text string) []bool {
	w := m.Writer(nil)
	w.renew()
	masked := make([]bool, len(text))
	if w.indexes == nil {
		return masked
	}
	w.buf = []byte(text)
	w.search(true)
	for _, s := range w.spans {
		for i := s.start; i < s.end; i++ {
			masked[i] = true
		}
	}
	return masked
}

// Kept is about how many bytes a MaskWriter keeps of a stream that it has read.
func Kept(w *MaskWriter) int {
	return cap(w.buf) + len(w.seen.text) + 16*len(w.seen.cuts) + len(w.bare.text) + 8*len(w.bare.marks) + 32*len(w.bare.detours)
}
