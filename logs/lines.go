package logs

import "bytes"

// MaxLine is the most bytes that Lines hands over in one piece.
const MaxLine = 64 << 10

// Lines splits a byte stream into lines. It is an io.WriteCloser.
type Lines struct {
	emit func(line []byte, partial bool)
	rest []byte // the bytes of the line that has not ended yet
}

// NewLines returns a splitter that calls emit for every line, in order, from within Write and Close.
// A line comes without its "\n" or "\r\n". One longer than MaxLine comes in pieces of MaxLine bytes,
// all but the last of them marked partial; so the number of bytes held back is bounded. The pieces do
// not depend on how the stream was cut into writes. emit must not keep the slice.
func NewLines(emit func(line []byte, partial bool)) *Lines {
	return &Lines{emit: emit}
}

// Write takes the next bytes of the stream. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		switch {
		case end < 0:
			l.hold(p)
			return n, nil
		case len(l.rest) == 0 && end <= MaxLine:
			l.emit(dropCR(p[:end]), false) // the usual case: a whole line, not copied
		default:
			l.hold(p[:end])
			l.emit(dropCR(l.rest), false)
			l.rest = l.rest[:0]
		}
		p = p[end+1:]
	}
	return n, nil
}

// Close emits the last line if it did not end in a newline. It never fails.
func (l *Lines) Close() error {
	if len(l.rest) > MaxLine { // exactly one byte more: a "\r" that waited for its "\n"
		l.emit(l.rest[:MaxLine], true)
		l.rest = l.rest[MaxLine:]
	}
	if len(l.rest) > 0 {
		l.emit(l.rest, false)
		l.rest = nil
	}
	return nil
}

// hold adds p, which has no newline, to the pending line and emits the pieces that are full.
func (l *Lines) hold(p []byte) {
	for len(l.rest)+len(p) > MaxLine+1 {
		room := MaxLine + 1 - len(l.rest)
		l.rest, p = append(l.rest, p[:room]...), p[room:]
		l.cut()
	}
	l.rest = append(l.rest, p...)
	if len(l.rest) == MaxLine+1 && l.rest[MaxLine] != '\r' {
		l.cut()
	}
}

// cut emits the first MaxLine bytes of the pending line as a piece.
func (l *Lines) cut() {
	l.emit(l.rest[:MaxLine], true)
	l.rest = append(l.rest[:0], l.rest[MaxLine:]...)
}

func dropCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}
