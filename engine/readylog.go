package engine

import (
	"context"
	"io"
	"regexp"
	"sync"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/sandbox"
)

// lastLines is the number of last lines that are shown of a step that was not ready.
const lastLines = 20

// printed looks at what a step prints, masked, until it is ready or given up.
type printed struct {
	match   *regexp.Regexp // nil: no line is looked for
	matched chan struct{}  // closed once a line has matched

	mu    sync.Mutex // guards the rest
	over  bool
	found bool
	lines []string  // the last lines
	begun [2]string // beginning of the line that has not ended yet, by stream
}

func newPrinted() *printed { return &printed{matched: make(chan struct{})} }

// tee shows p the lines on their way to the sinks. On nil it changes nothing.
func (p *printed) tee(to sinks) sinks {
	if p == nil {
		return to
	}
	return to.through(func(stream int, to io.Writer) (io.Writer, io.Closer) {
		lines := logs.NewLines(func(lines []logs.Line) { p.add(stream, lines) })
		return io.MultiWriter(to, untilOver{p, lines}), lines
	})
}

// untilOver passes on what is written as long as somebody looks.
type untilOver struct {
	*printed
	to io.Writer
}

func (w untilOver) Write(data []byte) (int, error) {
	w.mu.Lock()
	over := w.over
	w.mu.Unlock()
	if over {
		return len(data), nil
	}
	return w.to.Write(data)
}

// add looks at lines of one of the two streams. It looks at a line that comes in pieces as
// a whole with every piece: its end may never come. On nil it does nothing.
func (p *printed) add(stream int, lines []logs.Line) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	for _, line := range lines {
		text := line.Text
		if begun := p.begun[stream]; len(begun) < logs.MaxLine {
			text = begun + text
		}
		p.begun[stream] = ""
		if line.Partial {
			p.begun[stream] = text
		} else {
			p.keep(text)
		}
		if p.match != nil && !p.found && p.match.MatchString(text) {
			p.found = true
			close(p.matched)
		}
	}
}

// keep keeps a line as one of the last.
func (p *printed) keep(line string) {
	if len(p.lines) == lastLines {
		p.lines = append(p.lines[:0], p.lines[1:]...)
	}
	p.lines = append(p.lines, line)
}

func (p *printed) last() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// stop ends the looking.
func (p *printed) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// logProbe waits for a line; it does not poll.
func (rd *readiness) logProbe(expression string) probe {
	return probe{
		what: "a line that matches " + expression,
		wait: func(ctx context.Context, _ *sandbox.Sandbox) error {
			select {
			case <-rd.printed.matched:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}
