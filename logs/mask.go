package logs

import (
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/unicode/norm"
)

// Replacement stands for every run of masked bytes.
const Replacement = "***"

// minSecret is the length in bytes from which a secret is masked. Masking shorter ones would hide
// ordinary text, and what was hidden would tell the secret.
const minSecret = 4

// Mask replaces secrets by Replacement, in all the forms that forms.go and unescaped.go list, also where
// control sequences, line ends or invisible characters stand in the middle of one. All streams may share
// it, also while secrets are added. A nil Mask lets everything through.
type Mask struct {
	indexes atomic.Pointer[indexes] // nil: nothing to mask

	mu      sync.Mutex // guards the fields below
	secrets []secret
	known   map[string]bool // texts of secrets; true where all forms of it are searched
	weak    int             // number of secrets that are too short
}

// secret is a secret, or a line of one, of which fewer forms are searched.
type secret struct {
	text string
	line bool
}

// NewMask returns the mask of secrets. Empty ones are ignored. Weak counts those that are not masked
// because fewer than 4 bytes of them show, white space around them not counted.
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
	before := len(m.secrets)
	m.secrets = slices.Grow(m.secrets, len(secrets))
	if m.known == nil {
		m.known = make(map[string]bool, len(secrets))
	}
	for _, s := range secrets {
		switch trimmed := strings.TrimSpace(s); {
		case shows(trimmed, minSecret):
			m.addText(s)
			if !isASCII(s) { // some tools compose letters and accents, some take them apart
				m.addText(norm.NFC.String(s))
				m.addText(norm.NFD.String(s))
			}
		case s != "":
			weak++
		}
	}
	m.weak += weak
	if len(m.secrets) > before {
		m.indexes.Store(newIndexes(m.secrets))
	}
	return weak
}

// addText adds a secret as it is, without white space around it, and its lines. It is called with mu held.
func (m *Mask) addText(s string) {
	trimmed := strings.TrimSpace(s)
	m.addSecret(s, true)
	m.addSecret(trimmed, true)
	if strings.Contains(trimmed, "\n") {
		for _, line := range lines(s) {
			m.addSecret(line, false)
		}
	}
}

// addSecret adds a text with all its forms, or as it is. It is called with mu held.
func (m *Mask) addSecret(text string, allForms bool) {
	if all, known := m.known[text]; known && (all || !allForms) {
		return
	}
	m.known[text] = allForms
	m.secrets = append(m.secrets, secret{text, !allForms})
}

// Clone returns a mask of the same secrets, to which more can be added apart from m.
func (m *Mask) Clone() *Mask {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Mask{secrets: slices.Clip(m.secrets), known: maps.Clone(m.known), weak: m.weak}
	c.indexes.Store(m.indexes.Load())
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
	if m == nil || s == "" || m.indexes.Load() == nil {
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
