package live

import (
	"io"
	"slices"
	"strings"

	"github.com/morikuni/aec"
)

// screen is the terminal from the first line of the block downwards. The cursor is on the line
// below the block.
type screen struct {
	w       io.Writer
	reflows bool
	drawn   []string // lines of the block on the screen
	columns int      // width of the terminal when the block was drawn
	err     error    // first error; nothing is written after it
}

// draw writes text, which must be complete lines, in place of the block, and a new block below
// it. It does so in one write, so that nobody sees half of it.
func (s *screen) draw(text string, block []string, columns int) {
	isSame := slices.Equal(block, s.drawn) && (columns == s.columns || len(block) == 0)
	if s.err != nil || text == "" && isSame {
		return
	}
	var b strings.Builder
	b.WriteString(aec.Hide.String())
	b.WriteString("\r")
	s.erase(&b, columns)
	b.WriteString(strings.ReplaceAll(text, "\n", "\r\n"))
	for _, line := range block {
		b.WriteString(line + "\r\n")
	}
	b.WriteString(aec.Show.String())
	_, s.err = io.WriteString(s.w, b.String())
	s.drawn, s.columns = block, columns
}

// erase removes the block and leaves the cursor at its beginning.
//
// All rows but the first are erased together. If each were erased alone, tmux would treat it
// as a full row when it wraps lines again. If the first row were erased with the others, and
// is the first of the terminal, tmux would keep the block in its history each time.
func (s *screen) erase(b *strings.Builder, columns int) {
	rows := s.rows(columns)
	if rows == 0 {
		return
	}
	if rows > 1 {
		b.WriteString(aec.Up(uint(rows - 1)).String())
	}
	b.WriteString(aec.EraseDisplay(aec.EraseModes.Tail).String())
	b.WriteString(aec.Up(1).String())
	b.WriteString(aec.EraseLine(aec.EraseModes.Tail).String())
}

// rows is the number of rows that the block occupies now: a terminal that has become narrower
// may have wrapped its lines.
func (s *screen) rows(columns int) int {
	if !s.reflows || columns >= s.columns || columns < 1 {
		return len(s.drawn)
	}
	rows := 0
	for _, line := range s.drawn {
		rows += max(1, (width(line)+columns-1)/columns)
	}
	return rows
}
