package logs

import (
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Replacement stands for every run of masked bytes.
const Replacement = "***"

// minSecret is the length in bytes from which a secret is masked. Masking shorter ones would hide
// ordinary text, and what was hidden would tell the secret.
const minSecret = 4

// Mask replaces secrets, in the forms that forms lists, by Replacement. It may be shared by all
// streams, also while secrets are added. A nil Mask lets everything through.
type Mask struct {
	automaton atomic.Pointer[automaton] // nil: nothing to mask

	mu       sync.Mutex // guards the rest
	patterns []string   // sorted
	weak     int
}

// NewMask returns the mask of secrets. Empty ones are ignored; those that are shorter than 4 bytes
// without the white space around them are not masked and are counted by Weak.
func NewMask(secrets []string) *Mask {
	m := &Mask{}
	m.Add(secrets)
	return m
}

// Add masks more secrets, on all streams and from what they take next on; what a writer holds back
// is looked at again. It returns how many of them are too short to be masked.
func (m *Mask) Add(secrets []string) (weak int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var patterns []string
	for _, s := range secrets {
		switch n := len(strings.TrimSpace(s)); {
		case n >= minSecret:
			patterns = append(patterns, forms(s)...)
		case s != "":
			weak++
		}
	}
	m.weak += weak
	if len(patterns) == 0 {
		return weak
	}
	m.patterns = append(m.patterns, patterns...)
	slices.Sort(m.patterns)
	m.patterns = slices.Compact(m.patterns)
	m.automaton.Store(newAutomaton(m.patterns))
	return weak
}

// Clone returns a mask of the same secrets, to which more can be added apart from m.
func (m *Mask) Clone() *Mask {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Mask{patterns: slices.Clone(m.patterns), weak: m.weak}
	c.automaton.Store(m.automaton.Load())
	return c
}

// Weak is the number of secrets that are too short to be masked, for the caller to warn about.
func (m *Mask) Weak() int {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.weak
}

// String returns s with every secret masked.
func (m *Mask) String(s string) string {
	if m == nil || s == "" || m.automaton.Load() == nil {
		return s
	}
	var out strings.Builder
	w := m.Writer(&out)
	// A strings.Builder never fails, and so neither does a MaskWriter that writes to one.
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return out.String()
}

// Error returns an error in whose text every secret is masked, and that wraps err. It returns nil for
// nil.
func (m *Mask) Error(err error) error {
	if err == nil {
		return nil
	}
	return maskedError{m.String(err.Error()), err}
}

type maskedError struct {
	text string
	err  error
}

func (e maskedError) Error() string { return e.text }
func (e maskedError) Unwrap() error { return e.err }

// Writer returns a writer that passes a byte stream on to w with every secret masked, also one that
// is split over several writes. It is for one goroutine.
func (m *Mask) Writer(w io.Writer) *MaskWriter { return &MaskWriter{w: w, mask: m} }
