package engine

import (
	"fmt"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/logs"
)

// DefaultOutputLimit bounds the bytes of a step's output that are shown and recorded by default.
const DefaultOutputLimit = 1 << 30

// maxTail bounds the bytes of the end of an output that are kept in memory.
const maxTail = 1 << 20

// outputLimit bounds the output of a step. The head passes. Of the rest, the tail is kept: a quarter
// of the limit, but no more than maxTail. The lines in between are left out, and two warnings say
// so: one when that begins, for whoever waits, and one where the lines are missing. It must not be
// used by two goroutines at once.
type outputLimit struct {
	limit        int64 // in bytes
	head         int64 // bytes of the head that may still pass
	room         int64 // bytes for the tail
	pass         func(stream string, lines []logs.Line)
	warn         func(text string)
	over         bool // the head is full
	tail         []tailLine
	tailBytes    int64
	lines, bytes int64 // number of lines and bytes left out
}

type tailLine struct {
	stream string
	line   logs.Line
}

func newOutputLimit(limit int64, pass func(string, []logs.Line), warn func(string)) *outputLimit {
	room := min(limit/4, maxTail)
	return &outputLimit{limit: limit, head: limit - room, room: room, pass: pass, warn: warn}
}

// add takes the next lines of a stream.
func (l *outputLimit) add(stream string, lines []logs.Line) {
	if !l.over {
		n := l.fitting(lines)
		if n > 0 {
			l.pass(stream, lines[:n])
		}
		if lines = lines[n:]; len(lines) == 0 {
			return
		}
		l.over = true
		l.warn(fmt.Sprintf("has printed %s: the rest is left out, except for its end", l.size(l.limit-l.room)))
	}
	for _, line := range lines {
		l.tail = append(l.tail, tailLine{stream, line})
		l.tailBytes += size(line)
	}
	drop := 0
	for ; l.tailBytes > l.room && drop < len(l.tail); drop++ {
		l.tailBytes -= size(l.tail[drop].line)
		l.bytes += size(l.tail[drop].line)
		l.lines++
	}
	clear(l.tail[:drop])
	l.tail = l.tail[drop:]
}

// fitting is the number of lines that still belong to the head.
func (l *outputLimit) fitting(lines []logs.Line) int {
	for i, line := range lines {
		if l.head -= size(line); l.head < 0 {
			return i
		}
	}
	return len(lines)
}

// Close passes on the tail, after a warning about the missing lines.
func (l *outputLimit) Close() error {
	if l.lines > 0 {
		l.warn(fmt.Sprintf("%s of its output, %d lines, are left out here (output_limit: %s)", l.size(l.bytes), l.lines, l.size(l.limit)))
	}
	for _, t := range l.tail {
		l.pass(t.stream, []logs.Line{t.line})
	}
	l.tail = nil
	return nil
}

func (l *outputLimit) size(bytes int64) string { return units.HumanSize(float64(bytes)) }

func size(line logs.Line) int64 { return int64(len(line.Text)) + 1 }
