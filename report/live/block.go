package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/morikuni/aec"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

const (
	indent    = "    "          // in front of a step's lines
	mostWidth = 100             // columns of a line with text at its right end
	stallTime = 3 * time.Second // time without a byte after which a pull is called stalled
)

// block returns the lines below the printed ones. They fit into the terminal and leave a row
// for the cursor.
func (s *state) block(now time.Time, columns, rows int) []string {
	if len(s.running) == 0 && len(s.pulls) == 0 || columns < 10 || rows < 3 {
		return nil
	}
	columns-- // after the last column, some terminals go on to the next row
	rows--
	var lines []string
	if !s.began.IsZero() { // otherwise images are fetched, but not for a run
		lines = append(lines, s.title(now, columns))
	}
	room := rows - len(lines)
	entries := s.entries(now, columns)
	if len(entries) > room {
		more := len(entries) - room + 1
		entries = append(entries[:room-1], entry{line: fmt.Sprintf("  … and %d more", more)})
		if s.o.Plain {
			entries[room-1].line = fmt.Sprintf("  and %d more", more)
		}
	}
	share(entries, min(room-len(entries), max(rows/2, 1)))
	for _, e := range entries {
		lines = append(lines, fit(e.line, columns))
		for _, line := range e.tail[len(e.tail)-e.shown:] {
			lines = append(lines, fit(indent+logs.Sanitize(line), columns))
		}
	}
	return lines
}

// entry is a line of the block, with the last lines of its step.
type entry struct {
	line  string
	tail  []string
	shown int // number of lines of tail that are shown
}

// share divides the remaining rows equally among the steps.
func share(entries []entry, rows int) {
	for given := true; given && rows > 0; {
		given = false
		for i := range entries {
			if e := &entries[i]; rows > 0 && e.shown < len(e.tail) {
				e.shown++
				rows--
				given = true
			}
		}
	}
}

// entries returns images, then steps, then services, which matter least.
func (s *state) entries(now time.Time, columns int) []entry {
	var all, services []entry
	edge := min(columns, mostWidth)
	for _, p := range s.pulls {
		all = append(all, entry{line: s.pullLine(p, now, edge)})
	}
	for _, t := range s.running {
		name := "  " + s.paint(aec.Bold, t.label)
		elapsed := report.Duration(event.Millis(now.Sub(t.began).Truncate(100 * time.Millisecond)))
		if t.service {
			service := entry{line: aligned(name+s.paint(aec.Faint, "  service, "+t.image), elapsed, edge)}
			if s.o.Services {
				service.tail = s.shown.Of(t.cell, t.step).Lines()
			}
			services = append(services, service)
			continue
		}
		line := aligned(name+s.paint(aec.Faint, "  "+t.image), elapsed, edge)
		all = append(all, entry{line: line, tail: s.shown.Of(t.cell, t.step).Lines()})
	}
	return append(all, services...)
}

func (s *state) title(now time.Time, columns int) string {
	running := 0
	for _, t := range s.running {
		if !t.service {
			running++
		}
	}
	text := fmt.Sprintf("%s: %d of %d steps done, %d running", s.name, s.ended, s.steps, running)
	return s.paint(aec.Bold, aligned(text, report.Duration(event.Millis(now.Sub(s.began).Truncate(time.Second))), min(columns, mostWidth)))
}

// pullLine shows how far the fetch of an image has come.
func (s *state) pullLine(p *pull, now time.Time, columns int) string {
	elapsed := report.Duration(event.Millis(now.Sub(p.began).Truncate(100 * time.Millisecond)))
	var parts []string
	switch done := p.progress; {
	case p.at.IsZero():
		parts = append(parts, "asking for it")
	case done.Total > 0 && done.LayersDone == done.Layers:
		parts = append(parts, size(done.Bytes), "finishing")
	default:
		if done.Total > 0 {
			if width := columns / 8; width >= 8 { // a narrow terminal shows the numbers only
				parts = append(parts, bar(done, width))
			}
			parts = append(parts, fmt.Sprintf("%3d%%", percent(done)), size(done.Bytes)+"/"+size(done.Total))
		} else {
			parts = append(parts, size(done.Bytes))
		}
		if still := now.Sub(p.at); still >= stallTime {
			parts = append(parts, fmt.Sprintf("stalled %ds", int(still.Seconds())))
		} else {
			parts = append(parts, size(done.Rate)+"/s")
		}
	}
	right := strings.Join(append(parts, elapsed), "  ")
	room := columns - width(right) - len("  pull ") - 2
	return aligned("  "+s.paint(aec.CyanF, "pull")+" "+s.shortened(p.image, room), right, columns)
}

func percent(p event.Progress) int {
	return int(min(100, p.Bytes*100/p.Total))
}

// shortened removes the beginning of an image's name if the name does not fit: the end says
// more.
func (s *state) shortened(image string, columns int) string {
	if len(image) <= columns || columns < 4 {
		return image
	}
	return s.mark("…", "~") + image[len(image)-columns+1:]
}

// bar draws a bar; width is the number of columns between its brackets.
func bar(p event.Progress, width int) string {
	filled := percent(p) * width / 100
	text := strings.Repeat("=", filled)
	if filled < width {
		text += ">"
	}
	return fmt.Sprintf("[%-*s]", width, text)
}
