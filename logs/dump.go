package logs

import (
	"bytes"
	"math"
)

// dumps finds bytes that a step prints in lines with addresses, as hexdump(1), od(1) and xxd(1) do. An address, and
// the letters beside the numbers, stand in the middle of what goes on in the next line. So the bytes of a dump are a
// stream of their own, which is searched like the step's. What is found masks the lines that it stands on, except
// for their addresses.
type dumps struct {
	lines dumpLines
	read  [len(notations)]dump // the current dump, as each notation reads it
}

// dump is the bytes of a dump. Without lines there is none.
type dump struct {
	reading
	lines []printedLine // those that have bytes in buf
}

// printedLine is where a line stands in the step's stream, and where its bytes begin in the dump's.
type printedLine struct {
	start int
	bytes span // behind the address and spaces
	from  int
}

// dumpLines are lines of a visible text that begin like one of a dump.
type dumpLines struct {
	whole []span // those that have ended
	open  int    // where the last line begins if it is one; -1 otherwise
}

// lineEnd notes that a line ends at a place in the visible text, and what the next one begins with.
func (l *dumpLines) lineEnd(at int, next []byte) {
	if l.open >= 0 && at > l.open {
		l.whole = append(l.whole, span{l.open, at})
	}
	l.open = -1
	if mayBeAddress(next) {
		l.open = at
	}
}

// needed is the first place in the visible text that is needed further on.
func (l *dumpLines) needed() int {
	if l.open >= 0 {
		return l.open
	}
	return math.MaxInt
}

// search reads the lines that are new in a stream. With last, nothing comes behind them.
func (d *dumps) search(x *indexes, stream *visible, last bool, cover cover) {
	l := &d.lines
	if last && l.open >= 0 {
		l.lineEnd(len(stream.text), []byte("."))
	}
	for i, line := range l.whole {
		if i > 0 && line.start != l.whole[i-1].end {
			d.end(cover)
		}
		d.add(x, stream, line, cover)
	}
	l.whole = l.whole[:0]
	if l.open < 0 || !mayBeDumped(stream.text[l.open:]) {
		l.open = -1
		d.end(cover)
		return
	}
	for i := range d.read {
		if r := &d.read[i]; len(r.lines) > 0 {
			r.search(false, r.cover(cover))
		}
	}
}

// add adds a line to the current dump, or begins one.
func (d *dumps) add(x *indexes, stream *visible, line span, cover cover) {
	text := stream.text[line.start:line.end]
	address, colon, _ := addressOf(text)
	printed := dumped{text: text[address:], colon: colon}
	if address == 0 || len(text) > maxDumped || !printed.mayBeBytes() {
		d.end(cover)
		return
	}
	for i, notation := range notations {
		r := &d.read[i]
		read, ok := notation(printed)
		if !ok || len(read) == 0 {
			r.end(cover)
			continue
		}
		if len(r.lines) == 0 {
			r.reading = newReading(x, r.buf[:0])
		}
		body := line.end - len(bytes.TrimLeft(text[address:], " "))
		in := stream.span(body, line.end)
		r.lines = append(r.lines, printedLine{stream.at(line.start), in, len(r.buf)})
		r.buf = append(r.buf, read...)
	}
}

// end ends the current dump.
func (d *dumps) end(cover cover) {
	for i := range d.read {
		d.read[i].end(cover)
	}
}

func (r *dump) end(cover cover) {
	if len(r.lines) > 0 {
		r.search(true, r.cover(cover))
		r.lines = r.lines[:0]
	}
}

// cover covers the lines that bytes of a dump are printed on.
func (r *dump) cover(cover cover) cover {
	return func(start, end int) {
		to := len(r.buf)
		for i := len(r.lines) - 1; i >= 0; i-- {
			line := r.lines[i]
			if line.from < end && start < to && line.bytes.end > 0 {
				cover(line.bytes.start, line.bytes.end)
			}
			to = line.from
		}
	}
}

// held returns how much of a stream can be passed on, at most limit. A line that has not ended is held back as long
// as it may be one of a dump, and the last ones of a dump where a secret may begin, until nothing comes for a while.
func (d *dumps) held(stream *visible, idle bool, limit int) int {
	if l := &d.lines; l.open >= 0 {
		line := stream.text[l.open:]
		if address, _, _ := addressOf(line); address > 0 && len(bytes.TrimLeft(line[address:], " ")) > 0 {
			limit = min(limit, max(0, stream.at(l.open)))
		}
	}
	for i := range d.read {
		r := &d.read[i]
		if len(r.lines) == 0 || idle {
			continue
		}
		for _, line := range r.lines[r.first():] {
			if line.bytes.end > 0 { // it has not been passed on
				limit = min(limit, max(0, line.start))
			}
		}
	}
	return limit
}

// first returns the number of the first line that is held back.
func (r *dump) first() int {
	hold, first := r.held(false), len(r.lines)
	for first > 0 && hold < len(r.buf) && (first == len(r.lines) || r.lines[first].from > hold) {
		first--
	}
	return first
}

// drop moves what is left of the current dump, so that the stream begins at its byte n.
func (d *dumps) drop(n int) {
	for i := range d.read {
		r := &d.read[i]
		if len(r.lines) == 0 {
			continue
		}
		first := min(r.first(), len(r.lines)-1) // one stays, so that the dump goes on
		gone := r.lines[first].from
		r.reading.drop(gone, math.MaxInt)
		r.lines = r.lines[:copy(r.lines, r.lines[first:])]
		for k := range r.lines {
			line := &r.lines[k]
			line.start, line.from = line.start-n, line.from-gone
			line.bytes.start, line.bytes.end = line.bytes.start-n, line.bytes.end-n
		}
	}
}
