package live

import (
	"io"
	"slices"
	"strings"

	"github.com/morikuni/aec"
)

// screen is the terminal from the first line of the block downwards; the cursor stands
// in the line below the block.
type screen struct {
	w       io.Writer
	reflows bool
	drawn   []string // the block as it stands there
	columns int      // of the terminal then
	err     error    // the first one; nothing is written after it
}

// draw writes text, which is whole lines, in place of the block, and a new block below
// it. It is one write, so that nobody sees half of it.
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

// erase takes the block away and leaves the cursor at its beginning.
//
// Rows are erased together, but for the first. One by one, tmux would take each for a
// full one when it breaks lines anew; and together with the first, where that is the
// terminal's first, it would keep the block in its history each time.
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

// rows is how many rows the block takes up now: in a terminal that has become narrower
// its lines may have been broken into several.
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
