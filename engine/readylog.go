package engine

import (
	"context"
	"io"
	"regexp"
	"sync"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/sandbox"
)

// lastLines is how many lines of a step are shown that was not ready.
const lastLines = 20

// printed looks at what a step prints, masked, until it is ready or given up.
type printed struct {
	match   *regexp.Regexp // nil: no line is looked for
	matched chan struct{}  // closed once a line has matched

	mu    sync.Mutex // guards the rest
	over  bool
	found bool
	lines []string // the last
}

func newPrinted() *printed { return &printed{matched: make(chan struct{})} }

// tee returns writers that pass on to into and show p the lines, and what must be
// closed behind them, in order. On nil it changes nothing.
func (p *printed) tee(into []io.Writer, mask *logs.Mask) ([]io.Writer, []io.Closer) {
	if p == nil {
		return into, nil
	}
	var both []io.Writer
	var ends []io.Closer
	for _, w := range into {
		lines := logs.NewLines(p.line)
		masked := mask.Writer(lines)
		both, ends = append(both, io.MultiWriter(w, untilOver{p, masked})), append(ends, masked, lines)
	}
	return both, ends
}

// untilOver writes as long as somebody looks.
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

func (p *printed) line(line []byte, _ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == lastLines {
		p.lines = append(p.lines[:0], p.lines[1:]...)
	}
	p.lines = append(p.lines, string(line))
	if p.match != nil && !p.found && p.match.Match(line) {
		p.found = true
		close(p.matched)
	}
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

// logProbe waits for a line, without asking again and again.
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
