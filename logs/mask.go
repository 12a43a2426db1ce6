package logs

import (
	"io"
	"strings"
)

// Replacement stands for every run of masked bytes.
const Replacement = "***"

// minSecret is the length in bytes from which a secret is masked. Masking shorter ones would hide
// ordinary text, and what was hidden would tell the secret.
const minSecret = 4

// Mask replaces secrets, in the forms that forms lists, by Replacement. It is immutable and may be
// shared by all streams. A nil Mask lets everything through.
type Mask struct {
	automaton *automaton // nil: nothing to mask
	weak      int
}

// NewMask returns the mask of secrets. Empty ones are ignored; those that are shorter than 4 bytes
// without the white space around them are not masked and are counted by Weak.
func NewMask(secrets []string) *Mask {
	m := &Mask{}
	var patterns []string
	for _, s := range secrets {
		switch n := len(strings.TrimSpace(s)); {
		case n >= minSecret:
			patterns = append(patterns, forms(s)...)
		case s != "":
			m.weak++
		}
	}
	if len(patterns) > 0 {
		m.automaton = newAutomaton(patterns)
	}
	return m
}

// Weak is the number of secrets that are too short to be masked, for the caller to warn about.
func (m *Mask) Weak() int {
	if m == nil {
		return 0
	}
	return m.weak
}

// String returns s with every secret masked.
func (m *Mask) String(s string) string {
	var out strings.Builder
	w := m.Writer(&out)
	// A strings.Builder never fails, and so neither does a MaskWriter that writes to one.
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return out.String()
}

// Writer returns a writer that passes a byte stream on to w with every secret masked, also one that
// is split over several writes. It is for one goroutine.
func (m *Mask) Writer(w io.Writer) *MaskWriter {
	mw := &MaskWriter{w: w}
	if m != nil {
		mw.automaton = m.automaton
	}
	return mw
}
