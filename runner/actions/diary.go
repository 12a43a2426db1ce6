package actions

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stepexec/stepexec/event"
)

const (
	mostLog   = 256 << 10 // bytes of a container's output that are kept, the last ones
	lastLines = 20        // shown of a service that has ended
)

// diary notes what the containers of a job print and how they end, for the runner's log. The
// goroutine that delivers events writes it, and those that serve calls read it.
type diary struct {
	mu    sync.Mutex
	pages []*page // in the order of the job
}

// page is what is known of one container.
type page struct {
	name, image string
	started     time.Time
	lines       []string
	bytes       int               // of the lines
	dropped     int               // lines in front of these that are no longer kept
	end         *event.StepResult // nil: it runs, or never ran
	told        bool              // the runner's log tells of the end
}

func newDiary(j *job) *diary {
	d := &diary{}
	for i := range j.pipeline.Services {
		d.pages = append(d.pages, &page{name: j.pipeline.Services[i].Name, image: j.pipeline.Services[i].Image})
	}
	return d
}

// event notes what an event says about a container of the job.
func (d *diary) event(e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.page(e.Step)
	if p == nil {
		return
	}
	switch e.Kind {
	case event.StepStarted:
		p.started = e.Time
	case event.Line:
		p.add(e.Text)
	case event.StepFinished:
		p.end = e.Result
	}
}

func (d *diary) page(name string) *page {
	for _, p := range d.pages {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (p *page) add(line string) {
	p.lines = append(p.lines, line)
	p.bytes += len(line) + 1
	drop := 0
	for ; p.bytes > mostLog && drop < len(p.lines)-1; drop++ {
		p.bytes -= len(p.lines[drop]) + 1
	}
	p.lines, p.dropped = p.lines[drop:], p.dropped+drop
}

// lastStart is when the service that was started last was started.
func (d *diary) lastStart() (last time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pages {
		if p.name != jobName && p.started.After(last) {
			last = p.started
		}
	}
	return last
}

// ended says how a container has ended, with its last lines; "": it runs.
func (d *diary) ended(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.page(name); p != nil && p.end != nil {
		p.told = true
		return p.obituary()
	}
	return ""
}

// deaths returns the ends that the runner's log does not tell yet.
func (d *diary) deaths() (texts []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pages {
		if p.end != nil && !p.told {
			p.told = true
			texts = append(texts, p.obituary())
		}
	}
	return texts
}

// obituary says how a container has ended, with its last lines.
func (p *page) obituary() string {
	text := p.title() + " " + p.how()
	if p.end.NotReady {
		return text // the reason has the last lines
	}
	lines := p.lines[max(0, len(p.lines)-lastLines):]
	if len(lines) == 0 {
		return text + "; " + p.end.WithoutLines()
	}
	return text + "; its last lines:\n  " + strings.Join(lines, "\n  ")
}

func (p *page) title() string {
	if p.name == jobName {
		return "the job's container (" + p.image + ")"
	}
	return fmt.Sprintf("service %s (%s)", p.name, p.image)
}

// how says how a container has ended.
func (p *page) how() string {
	switch {
	case p.end == nil:
		return "runs"
	case p.end.OOM && p.end.Error != "", p.end.NotReady, p.end.ExitCode == event.CodeError && p.end.Error != "":
		return "has ended: " + p.end.Error
	}
	return fmt.Sprintf("has ended with exit code %d", p.end.ExitCode)
}

// writeLogs writes what the services have printed, each in a fold of the runner's log. What a
// service prints cannot command the runner.
func (d *diary) writeLogs(w io.Writer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for _, p := range d.pages {
		if p.name == jobName {
			continue
		}
		token := rand.Text()
		fmt.Fprintf(&b, "::group::%s %s\n::stop-commands::%s\n", escaped(p.title()), escaped(strings.SplitN(p.how(), "\n", 2)[0]), token)
		if p.dropped > 0 {
			fmt.Fprintf(&b, "(%d lines before these are in the run's record: stepexec logs)\n", p.dropped)
		}
		for _, line := range p.lines {
			b.WriteString(line + "\n")
		}
		fmt.Fprintf(&b, "::%s::\n::endgroup::\n", token)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escaped is a text as the message of a workflow command.
func escaped(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}
