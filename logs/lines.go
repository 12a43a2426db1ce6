package logs

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// MaxLine is the most bytes that Lines hands over in one piece.
const MaxLine = 64 << 10

// Line is a line of a stream, or a piece of one.
type Line struct {
	Text    string // without its "\n" or "\r\n"
	Partial bool   // the line goes on with the next piece
}

// Lines splits a byte stream into lines. It is an io.WriteCloser.
type Lines struct {
	emit func([]Line)
	rest []byte // of the line that has not ended yet
	open bool   // a piece of that line has been emitted
	out  []Line // of the current call
}

// NewLines returns a splitter that calls emit with the lines that each Write, Flush or Close brings to
// an end, in order. A line longer than MaxLine comes in pieces of as much, all but the last of them
// partial, so the number of bytes held back is bounded; so does one that is flushed. Pieces
// end between characters and between control sequences, and apart from Flush they do not depend on how
// the stream was cut into writes. emit may keep the slice.
func NewLines(emit func([]Line)) *Lines {
	return &Lines{emit: emit}
}

// Write takes the next bytes of the stream. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	if end := bytes.IndexByte(p, '\n'); end >= 0 && len(l.rest) > 0 {
		l.hold(p[:end])
		l.add(string(dropCR(l.rest)), false)
		l.rest = l.rest[:0]
		p = p[end+1:]
	}
	if last := bytes.LastIndexByte(p, '\n'); last >= 0 {
		// The usual case: whole lines. One string for all of them takes 15 % of the time
		// that one for each does.
		l.split(string(p[:last+1]))
		p = p[last+1:]
	}
	l.hold(p)
	l.pass()
	return n, nil
}

// split adds the whole lines of text, where no line is pending.
func (l *Lines) split(text string) {
	for len(text) > 0 {
		end := strings.IndexByte(text, '\n')
		if end > MaxLine {
			l.hold([]byte(text[:end]))
			l.add(string(dropCR(l.rest)), false)
			l.rest = l.rest[:0]
		} else if end > 0 && text[end-1] == '\r' {
			l.add(text[:end-1], false)
		} else {
			l.add(text[:end], false)
		}
		text = text[end+1:]
	}
}

// Flush emits what there is of a line that has not ended, such as a prompt, but for a character or
// a control sequence that is not whole, and for a "\r" that may belong to the line's end.
func (l *Lines) Flush() error {
	end := wholeEnd(l.rest)
	if end > 0 && l.rest[end-1] == '\r' {
		end--
	}
	if end > 0 {
		l.cut(end)
	}
	l.pass()
	return nil
}

// Close emits the last line if it did not end in a newline. It never fails.
func (l *Lines) Close() error {
	if len(l.rest) > MaxLine { // exactly one byte more: a "\r" that waited for its "\n"
		l.cut(wholeEnd(l.rest[:MaxLine]))
	}
	if len(l.rest) > 0 || l.open {
		l.add(string(l.rest), false)
		l.rest = nil
	}
	l.pass()
	return nil
}

// hold adds p, which has no newline, to the pending line and cuts off the pieces that are full.
func (l *Lines) hold(p []byte) {
	for {
		room := min(MaxLine+1-len(l.rest), len(p))
		l.rest, p = append(l.rest, p[:room]...), p[room:]
		if len(l.rest) <= MaxLine || len(p) == 0 && l.rest[MaxLine] == '\r' {
			return
		}
		l.cut(wholeEnd(l.rest[:MaxLine]))
	}
}

// cut adds the first n bytes of the pending line as a piece.
func (l *Lines) cut(n int) {
	l.add(string(l.rest[:n]), true)
	l.rest = append(l.rest[:0], l.rest[n:]...)
}

func (l *Lines) add(text string, partial bool) {
	if l.out == nil {
		l.out = make([]Line, 0, 16)
	}
	l.out = append(l.out, Line{text, partial})
	l.open = partial
}

func (l *Lines) pass() {
	if len(l.out) > 0 {
		l.emit(l.out)
		l.out = make([]Line, 0, min(len(l.out), 1024)) // about as many come next
	}
}

// maxSequence is how long a control sequence can be that a piece is not to be cut in.
const maxSequence = 128

// wholeEnd returns how much of p can be cut off without cutting a character or a control sequence.
func wholeEnd(p []byte) int {
	end := len(p)
	tail := max(0, end-maxSequence)
	if i := bytes.LastIndexByte(p[tail:], esc); i >= 0 && sequenceEnd(string(p[tail+i:]), 0) == 0 {
		return tail + i
	}
	for i := end - 1; i >= max(0, end-utf8.UTFMax); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return end
}

func dropCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}
