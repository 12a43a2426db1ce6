package github

import (
	"io"

	"github.com/stepexec/stepexec/report"
)

// mostSections bounds the sections of a step that become groups. Marks beyond are lines like others.
const mostSections = 1000

// section is a mark of a section in the output of a step that waits.
type section struct {
	at    int64 // how many bytes of the output are in front of it
	mark  report.Mark
	title string
}

// mark makes a group of a section that a line of a step begins or ends. It reports whether the line is such a mark.
// Where the runner obeys what steps print, it makes the group itself of the marks that it knows.
func (l *Log) mark(g *group, line string) bool {
	mark, title := report.SectionMark(line)
	if mark == report.NoMark || l.o.StepCommands && !report.IsGitLabMark(line) || len(g.sections) == mostSections {
		return false
	}
	s := section{at: g.waiting.size, mark: mark, title: title}
	g.sections = append(g.sections, s)
	if g == l.shown {
		l.turn(g, s)
	}
	return true
}

// turn shows where a section begins or ends. Groups of GitHub do not nest: a section's group ends the step's, and what
// follows the section needs a group again.
func (l *Log) turn(g *group, s section) {
	l.endGroup(g)
	g.closed = true
	if s.mark == report.SectionBegin {
		l.do(command{name: "group", message: g.name + ": " + s.title})
		g.closed = false
	}
}

// goOn opens a group for output that follows a section.
func (l *Log) goOn(g *group) {
	if g.closed {
		l.do(command{name: "group", message: g.title + ", continued"})
		g.closed = false
	}
}

// endGroup ends the group that is open for a step, if one is.
func (l *Log) endGroup(g *group) {
	if !g.closed {
		l.do(command{name: "endgroup"})
	}
}

// drain shows the output of a step that has waited.
func (l *Log) drain(g *group) {
	if len(g.sections) == 0 {
		l.disobey()
		if l.err == nil {
			l.err = g.waiting.drain(l.w)
		}
		return
	}
	r := &passing{w: l.w}
	for _, s := range g.sections {
		r.until = append(r.until, s.at)
	}
	r.next = func(i int) error {
		l.turn(g, g.sections[i])
		return l.err
	}
	r.begin = func() error {
		l.goOn(g)
		l.disobey()
		return l.err
	}
	if l.err == nil {
		l.err = g.waiting.drain(r)
	}
	if l.err == nil {
		l.err = r.turn()
	}
}

// passing passes on what is written, and calls next at some places of it and begin before what is between.
type passing struct {
	w     io.Writer
	until []int64 // the places, in order
	begin func() error
	next  func(i int) error

	passed int64
	i      int // number of the next place
}

func (p *passing) Write(data []byte) (n int, err error) {
	for n < len(data) {
		if err := p.turn(); err != nil {
			return n, err
		}
		part := data[n:]
		if p.i < len(p.until) {
			part = part[:min(int64(len(part)), p.until[p.i]-p.passed)]
		}
		if err := p.begin(); err != nil {
			return n, err
		}
		written, err := p.w.Write(part)
		n, p.passed = n+written, p.passed+int64(written)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// turn calls next for the places that have come.
func (p *passing) turn() error {
	for p.i < len(p.until) && p.until[p.i] <= p.passed {
		p.i++
		if err := p.next(p.i - 1); err != nil {
			return err
		}
	}
	return nil
}
