package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/stepexec/stepexec/event"
)

const (
	// DefaultLogBytes bounds the logs of a report, in compressed bytes. A browser opens that
	// much at once, and it holds 100 MB and more of the output of builds (docs/reports.md).
	DefaultLogBytes = 48 << 20
	// Bounds of a piece of a log, which a page unpacks and shows at a time.
	pieceBytes = 64 << 10
	pieceLines = 500

	// foldedBytes bounds the state of a line that its stream goes on with or writes over.
	foldedBytes = 4 << 10
)

// Log is the output of a step, in compressed pieces. When the logs of a report exceed their
// bound, pieces are missing from the middle. Of a line that was written over after a "\r", as a
// progress bar does, it has the last state.
type Log struct {
	Lines int
	Bytes int64 // bytes of text, without line ends

	base   time.Time // time of its first line
	pieces []piece
	open   []byte // encoded lines of the last piece, not compressed yet
	last   int    // where the last line begins in open
	stream string // stream of the last line while that line may go on; "": it has ended
	lines  int    // number of lines in open
	size   int    // compressed bytes of all pieces
}

// piece is a number of lines of a log.
type piece struct {
	lines int
	data  []byte // compressed lines; nil: they are missing
}

// Line is a line of a log.
type Line struct {
	After   time.Duration // since the first line of the log
	Stream  string
	Text    string
	Partial bool // the line has not ended
	Missing int  // number of lines that are missing here, in place of a line
}

// keeper keeps logs within their bound.
type keeper struct {
	most int // bound of all logs together, in compressed bytes
	used int // compressed bytes of all logs
	logs []*Log
	gzip *gzip.Writer
	into bytes.Buffer
}

func (k *keeper) newLog() *Log {
	l := &Log{}
	k.logs = append(k.logs, l)
	return l
}

// add adds a Line event.
func (k *keeper) add(l *Log, e event.Event) {
	l.Bytes += int64(len(e.Text))
	text := e.Text
	if before, ok := l.goingOn(e); ok {
		text = before + text
		l.open = l.open[:l.last]
	} else {
		if len(l.open) >= pieceBytes || l.lines >= pieceLines {
			k.press(l)
		}
		if l.Lines == 0 {
			l.base = e.Time
		}
		l.Lines, l.lines, l.last = l.Lines+1, l.lines+1, len(l.open)
	}
	l.stream = ""
	if e.Partial {
		l.stream = e.Stream
	}
	if mark, _ := SectionMark(text); mark == NoMark { // of a mark, the part before the "\r" is what counts
		text = overwritten(text, e.Partial)
	}
	l.encode(e, text)
}

// goingOn returns the text of the last line if a Line event goes on with it.
func (l *Log) goingOn(e event.Event) (text string, ok bool) {
	if l.stream == "" || l.stream != e.Stream || l.lines == 0 {
		return "", false
	}
	line := l.open[l.last : len(l.open)-1]
	if len(line) > foldedBytes {
		return "", false
	}
	return string(line[bytes.IndexByte(line, ' ')+1:]), true
}

// encode adds a line: a letter for its stream (upper case if the line may go on), the
// milliseconds since the first line, a space and the text.
func (l *Log) encode(e event.Event, text string) {
	letter := byte('o')
	if e.Stream == event.Stderr {
		letter = 'e'
	}
	if e.Partial {
		letter -= 'a' - 'A'
	}
	l.open = append(l.open, letter)
	l.open = strconv.AppendInt(l.open, e.Time.Sub(l.base).Milliseconds(), 10)
	l.open = append(l.open, ' ')
	if !isPlain(text) {
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\n", " ")
	}
	l.open = append(append(l.open, text...), '\n')
}

// press compresses the last piece of a log.
func (k *keeper) press(l *Log) {
	if l.lines == 0 {
		return
	}
	if k.gzip == nil {
		k.gzip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	}
	k.into.Reset()
	k.gzip.Reset(&k.into)
	_, _ = k.gzip.Write(l.open) // a buffer takes everything
	_ = k.gzip.Close()
	data := bytes.Clone(k.into.Bytes())
	l.pieces = append(l.pieces, piece{l.lines, data})
	l.open, l.lines, l.last, l.stream = l.open[:0], 0, 0, ""
	l.size += len(data)
	for k.used += len(data); k.used > k.most; {
		k.used -= k.largest().dropMiddle()
	}
}

func (k *keeper) largest() *Log {
	largest := k.logs[0]
	for _, l := range k.logs {
		if l.size > largest.size {
			largest = l
		}
	}
	return largest
}

// dropMiddle drops the middle one of the remaining pieces, so that the beginning and the end
// of the log stay.
func (l *Log) dropMiddle() (freed int) {
	var there []int
	for i := range l.pieces {
		if l.pieces[i].data != nil {
			there = append(there, i)
		}
	}
	i := there[len(there)/2]
	freed = len(l.pieces[i].data)
	l.size -= freed
	l.pieces[i].data = nil
	if i+1 < len(l.pieces) && l.pieces[i+1].data == nil {
		l.pieces[i].lines += l.pieces[i+1].lines
		l.pieces = append(l.pieces[:i+1], l.pieces[i+2:]...)
	}
	if i > 0 && l.pieces[i-1].data == nil {
		l.pieces[i-1].lines += l.pieces[i].lines
		l.pieces = append(l.pieces[:i], l.pieces[i+1:]...)
	}
	return freed
}

// Missing is the number of missing lines.
func (l *Log) Missing() (lines int) {
	for i := range l.pieces {
		if l.pieces[i].data == nil {
			lines += l.pieces[i].lines
		}
	}
	return lines
}

// Pieces returns the number of lines of each piece of the log, the last of which may still grow. It is
// negative for lines that are missing.
func (l *Log) Pieces() []int {
	var all []int
	for _, p := range l.pieces {
		n := p.lines
		if p.data == nil {
			n = -n
		}
		all = append(all, n)
	}
	if l.lines > 0 {
		all = append(all, l.lines)
	}
	return all
}

// Piece returns the piece that begins with a line, counted from 1, as the scripts of pages read it, and
// whether it is compressed with gzip. It is nil if no piece begins there, or if its lines are missing.
func (l *Log) Piece(first int) (data []byte, compressed bool) {
	at := 1
	for _, p := range l.pieces {
		if at == first {
			return p.data, true
		}
		at += p.lines
	}
	if at == first && l.lines > 0 {
		return bytes.Clone(l.open), false
	}
	return nil, false
}

// read returns the lines of a piece.
func (p piece) read() ([]Line, error) {
	if p.data == nil {
		return []Line{{Missing: p.lines}}, nil
	}
	unpack, err := gzip.NewReader(bytes.NewReader(p.data))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(unpack)
	if err != nil {
		return nil, err
	}
	return decodeLines(data)
}

func decodeLines(data []byte) ([]Line, error) {
	var lines []Line
	for text := range strings.Lines(string(data)) {
		line, err := decodeLine(strings.TrimSuffix(text, "\n"))
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func decodeLine(text string) (l Line, err error) {
	head, text, found := strings.Cut(text, " ")
	if !found || head == "" {
		return l, fmt.Errorf("a line of the log is damaged: %q", head)
	}
	ms, err := strconv.ParseInt(head[1:], 10, 64)
	l = Line{After: time.Duration(ms) * time.Millisecond, Stream: event.Stdout, Text: text}
	switch head[0] {
	case 'O':
		l.Partial = true
	case 'e':
		l.Stream = event.Stderr
	case 'E':
		l.Stream, l.Partial = event.Stderr, true
	}
	return l, err
}

// Tail returns up to most of the last lines of a log.
func (l *Log) Tail(most int) ([]Line, error) {
	tail, err := decodeLines(l.open)
	if err != nil {
		return nil, err
	}
	for i := len(l.pieces) - 1; i >= 0 && len(tail) < most; i-- {
		lines, err := l.pieces[i].read()
		if err != nil {
			return nil, err
		}
		tail = append(lines, tail...)
	}
	return tail[max(0, len(tail)-most):], nil
}
