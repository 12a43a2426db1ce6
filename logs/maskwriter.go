package logs

import "io"

// MaskWriter masks one byte stream; Mask.Writer makes it.
//
// It holds back only the bytes that may still become part of a secret: the longest suffix of the
// stream that begins one.
type MaskWriter struct {
	w         io.Writer
	automaton *automaton
	state     uint32
	buf       []byte // the bytes held back, then those of the current write
	spans     []span // what of buf is masked: in order, disjoint, not touching
	masked    bool   // whether the last byte passed on was a masked one
	out       []byte
}

// span is a range of MaskWriter.buf, end not included.
type span struct{ start, end int }

// chunk is how much of a write is searched at once, so that buffers stay small and in the cache.
const chunk = 32 << 10

// Write takes the next bytes of the stream and passes on what is decided. It fails only when the
// writer below does; n then counts the bytes taken.
func (m *MaskWriter) Write(p []byte) (n int, err error) {
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

// Close passes on what is held back. It does not close the writer below.
func (m *MaskWriter) Close() error {
	m.state = 0
	return m.release(len(m.buf))
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

// release passes on buf[:n] and keeps the rest.
func (m *MaskWriter) release(n int) error {
	if n == 0 {
		return nil
	}
	out := m.buf[:n]
	if len(m.spans) > 0 {
		out = m.replaceSpans(n)
	} else {
		m.masked = false
	}
	var err error
	if len(out) > 0 {
		_, err = m.w.Write(out)
	}
	m.buf = m.buf[:copy(m.buf, m.buf[n:])]
	return err
}

// replaceSpans renders buf[:n] and moves the spans by n.
func (m *MaskWriter) replaceSpans(n int) []byte {
	m.out = m.out[:0]
	pos, kept := 0, m.spans[:0]
	for _, s := range m.spans {
		if s.start < n {
			m.pass(pos, s.start)
			if !m.masked {
				m.out = append(m.out, Replacement...)
				m.masked = true
			}
			pos = min(s.end, n)
		}
		if s.end > n {
			kept = append(kept, span{max(s.start-n, 0), s.end - n})
		}
	}
	m.spans = kept
	m.pass(pos, n)
	return m.out
}

// pass renders buf[from:to] as it is.
func (m *MaskWriter) pass(from, to int) {
	if from < to {
		m.out = append(m.out, m.buf[from:to]...)
		m.masked = false
	}
}
