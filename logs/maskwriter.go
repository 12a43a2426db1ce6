package logs

import (
	"cmp"
	"io"
	"slices"
)

// MaskWriter masks one byte stream; Mask.Writer makes it.
//
// It holds back only the bytes that may still become part of a secret: the longest suffix of the
// stream that begins one, without what of it is masked in any case. They are never given up but for
// what comes next: a secret that is written letter by letter must not come out by waiting.
type MaskWriter struct {
	w         io.Writer
	mask      *Mask
	automaton *automaton
	state     uint32
	buf       []byte // the bytes of the state, then those of the current write
	passed    int    // how many of them have been passed on, masked
	spans     []span // what of buf is masked: in order, disjoint, not touching
	masked    bool   // whether the last byte passed on was a masked one
	out       []byte
}

// span is a range of MaskWriter.buf, end not included.
type span struct{ start, end int }

// chunk is how much of a write is searched at once, so that buffers stay small and in the cache.
const chunk = 64 << 10

// Write takes the next bytes of the stream and passes on what is decided. It fails only when the
// writer below does; n then counts the bytes taken.
func (m *MaskWriter) Write(p []byte) (n int, err error) {
	m.renew()
	if m.automaton == nil {
		return m.w.Write(p)
	}
	for n < len(p) {
		part := p[n:min(n+chunk, len(p))]
		held := len(m.buf)
		m.buf = append(m.buf, part...)
		m.search(held)
		n += len(part)
		if err := m.release(len(m.buf) - int(m.automaton.depth[m.state])); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Flush passes on what the writer below holds back, if it is one that does.
func (m *MaskWriter) Flush() error { return flush(m.w) }

// Close passes on what is held back. It does not close the writer below.
func (m *MaskWriter) Close() error {
	m.renew()
	m.state = 0
	return m.release(len(m.buf))
}

// renew takes over secrets that were added: all that is held back is searched for them.
func (m *MaskWriter) renew() {
	if m.mask == nil {
		return
	}
	a := m.mask.automaton.Load()
	if a == m.automaton {
		return
	}
	old := m.spans
	m.automaton, m.state, m.spans = a, 0, nil
	m.search(0)
	m.spans = union(m.spans, old) // one may have begun in bytes that are gone
}

// search runs the automaton over buf[i:] and notes the spans to mask.
func (m *MaskWriter) search(i int) {
	a, s := m.automaton, m.state
	for i < len(m.buf) {
		if s == 0 {
			if i = a.skip.next(m.buf, i); i >= len(m.buf) {
				break
			}
		}
		s = a.next(s, m.buf[i])
		i++
		if length := int(a.match[s]); length > 0 {
			m.cover(i-length, i)
		}
	}
	m.state = s
}

// cover notes buf[start:end], which ends where the search stands, as masked.
func (m *MaskWriter) cover(start, end int) {
	n := len(m.spans)
	for ; n > 0 && m.spans[n-1].end >= start; n-- {
		start = min(start, m.spans[n-1].start)
	}
	m.spans = append(m.spans[:n], span{start, end})
}

// union merges spans that overlap or touch.
func union(a, b []span) []span {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && merged[n-1].end >= s.start {
			merged[n-1].end = max(merged[n-1].end, s.end)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// release passes on buf[:n], with the rest of a span that goes on there, and keeps what is behind n.
func (m *MaskWriter) release(n int) error {
	end := n
	for _, s := range m.spans {
		if s.start <= n && n < s.end {
			end = s.end
		}
	}
	var err error
	if end > m.passed {
		if out := m.render(m.passed, end); len(out) > 0 {
			_, err = m.w.Write(out)
		}
	}
	m.passed = end - n
	if n > 0 {
		m.buf = m.buf[:copy(m.buf, m.buf[n:])]
		kept := m.spans[:0]
		for _, s := range m.spans {
			if s.end > n {
				kept = append(kept, span{max(s.start-n, 0), s.end - n})
			}
		}
		m.spans = kept
	}
	return err
}

// render returns buf[from:to] with what is masked replaced.
func (m *MaskWriter) render(from, to int) []byte {
	if len(m.spans) == 0 {
		m.masked = false
		return m.buf[from:to]
	}
	m.out = m.out[:0]
	for _, s := range m.spans {
		if s.start >= to || s.end <= from {
			continue
		}
		m.pass(from, s.start)
		if !m.masked {
			m.out = append(m.out, Replacement...)
			m.masked = true
		}
		from = min(s.end, to)
	}
	m.pass(from, to)
	return m.out
}

// pass renders buf[from:to] as it is.
func (m *MaskWriter) pass(from, to int) {
	if from < to {
		m.out = append(m.out, m.buf[from:to]...)
		m.masked = false
	}
}
