package logs

import (
	"bytes"
	"io"
	"slices"
)

// MaskWriter masks one byte stream; Mask.Writer makes it.
//
// It holds back only the bytes that may still become part of a secret: the longest suffix of the
// stream that begins one, without the part of it that is masked in any case. Time does not change that: a
// secret that is written letter by letter must not come out by waiting. There is one exception. A secret
// may go on behind the end of a line, where a tool has wrapped its base64; a line that happens to end like the
// beginning of a secret is held back when at least 4 bytes are alike, and only until Flush, so that a
// line is not kept from whoever waits for it.
type MaskWriter struct {
	w       io.Writer
	mask    *Mask
	indexes *indexes
	reading        // of the bytes that are held back, then those of the current write
	dumps   dumps  // in the stream
	spans   []span // masked parts of buf: in order, disjoint, not touching
	passed  int    // number of bytes of buf that have been passed on, masked
	masked  bool   // whether the last byte passed on was a masked one
	out     []byte
}

// span is a range of bytes, end not included.
type span struct{ start, end int }

// chunk is how much of a write is searched at once, so that buffers stay small and in the cache.
const chunk = 16 << 10

// chunkEnd returns how much of p is searched at once: whole lines where it can be, behind which little is held back.
func chunkEnd(p []byte) int {
	end := min(chunk, len(p))
	if line := bytes.LastIndexByte(p[:end], '\n'); line >= 0 && end < len(p) {
		return line + 1
	}
	return end
}

// Write takes the next bytes of the stream and passes on what is decided. It fails only when the
// writer below does; n then counts the bytes taken.
func (m *MaskWriter) Write(p []byte) (n int, err error) {
	m.renew()
	if m.indexes == nil {
		return m.w.Write(p)
	}
	for n < len(p) {
		part := p[n : n+chunkEnd(p[n:])]
		n += len(part)
		m.take(part)
		m.search(false)
		hold := m.held(false)
		if len(m.buf)-hold > maxHeld && len(m.buf)-hold > maxQuoted*m.indexes.longest() {
			if err := m.giveUp(hold); err != nil {
				return n, err
			}
			continue
		}
		err := m.release(hold)
		m.keep()
		if err != nil {
			return n, err
		}
		if len(m.seen.text) > len(m.buf)+maxBlank {
			m.beginAnew()
		}
	}
	return n, nil
}

// maxBlank bounds what is kept of the text that has been passed on. A search waits there for what follows the last few
// letters, and a step may print nothing but spaces from then on.
const maxBlank = 64 << 10

// What is held back is bounded by so many bytes, or so many for each byte of the longest secret: a step
// could otherwise take all memory with the beginning of a secret and then only what is left out.
const (
	maxHeld   = 4 << 20
	maxQuoted = 16
)

// giveUp masks all that is held back, and begins anew behind it.
func (m *MaskWriter) giveUp(hold int) error {
	m.cover(hold, len(m.buf))
	err := m.release(len(m.buf))
	m.forgetAll()
	return err
}

// Flush passes on lines that are held back because a secret may go on behind them, and whatever the
// writer below holds back, if it is one that does.
func (m *MaskWriter) Flush() error {
	if m.indexes != nil && len(m.buf) > 0 {
		m.settle(m.cover)
		if err := m.release(m.held(true)); err != nil {
			return err
		}
	}
	return flush(m.w)
}

// Close passes on what is held back. It does not close the writer below.
func (m *MaskWriter) Close() error {
	m.renew()
	if m.indexes == nil {
		return nil
	}
	m.search(true)
	err := m.release(len(m.buf))
	m.forgetAll()
	return err
}

// renew takes over secrets that were added: all that is held back is searched for them.
func (m *MaskWriter) renew() {
	if m.mask == nil {
		return
	}
	x := m.mask.indexes.Load()
	if x == m.indexes {
		return
	}
	m.indexes = x
	m.beginAnew()
}

// beginAnew searches all that is held back once more, and nothing in front of it.
func (m *MaskWriter) beginAnew() {
	m.forgetAll()
	m.search(false)
}

// forgetAll makes the search begin anew at the beginning of buf.
func (m *MaskWriter) forgetAll() {
	m.reading, m.dumps = newReading(m.indexes, m.buf), dumps{}
	m.seen.dumped = &m.dumps.lines
}

// search reads what is new in buf and notes the spans to mask. With last, nothing comes behind it.
func (m *MaskWriter) search(last bool) {
	m.reading.search(last, m.cover)
	m.dumps.search(m.indexes, &m.seen, last, m.cover)
}

// held returns how much of buf can be passed on. idle says that nothing has come for a while.
func (m *MaskWriter) held(idle bool) int { return m.dumps.held(&m.seen, idle, m.reading.held(idle)) }

// cover notes a part of buf as masked.
func (m *MaskWriter) cover(start, end int) {
	start = max(start, 0) // its beginning may have been passed on
	last := len(m.spans)
	for last > 0 && m.spans[last-1].start > end {
		last--
	}
	first := last
	for first > 0 && m.spans[first-1].end >= start {
		first--
		start, end = min(start, m.spans[first].start), max(end, m.spans[first].end)
	}
	m.spans = slices.Replace(m.spans, first, last, span{start, end})
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
		m.dumps.drop(n)
		m.drop(n, m.dumps.lines.needed())
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
