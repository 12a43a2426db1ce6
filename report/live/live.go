package live

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// interval is the time between two checks for something new to show.
const interval = 100 * time.Millisecond

// Options are the settings of a View.
type Options struct {
	Size    func() (columns, rows int) // of the terminal
	Resized <-chan os.Signal           // may be nil
	Style   report.Style
	Plain   bool // the View itself writes only ASCII
	Reflows bool // the terminal wraps lines again when it becomes narrower
	// Flaky returns the flaky tests of a run that has ended. nil: they are not looked up.
	Flaky func(*event.Summary) []report.FlakyTest

	Services bool // show the lines of services that do not fail, too
}

// View shows a run. Its methods may be called from several goroutines; Event and Print
// do not wait for the terminal.
type View struct {
	o      Options
	mu     sync.Mutex // guards state
	state  *state
	draws  sync.Mutex // guards screen
	screen screen
	quit   chan struct{}
	done   crash.Group
}

// New returns a View that draws on the terminal w, and begins to draw. The caller must call
// End.
func New(w io.Writer, o Options) *View {
	v := &View{o: o, state: newState(o), screen: screen{w: w, reflows: o.Reflows}, quit: make(chan struct{})}
	v.done.Go(v.run)
	return v
}

// Event takes note of one event.
func (v *View) Event(e event.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.event(e)
}

// Print shows a line above the block, for text that is not an event.
func (v *View) Print(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.print(line)
}

// End shows the rest, removes the block, and returns the first error of drawing.
func (v *View) End() error {
	close(v.quit)
	crashed := errors.Join(v.done.Wait(), crash.Catch(func() { v.draw(false) }))
	return errors.Join(crashed, v.screen.err)
}

func (v *View) run() {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-v.o.Resized:
		case <-v.quit:
			return
		}
		v.draw(true)
	}
}

// draw shows new lines, and below them the block if it is wanted.
func (v *View) draw(block bool) {
	v.draws.Lock()
	defer v.draws.Unlock()
	columns, rows := v.o.Size()
	text, lines := v.take(block, columns, rows)
	v.screen.draw(text, lines, columns)
}

// take returns the text to print above the block, which it has not returned before, and the lines
// of the block.
func (v *View) take(block bool, columns, rows int) (text string, lines []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text = strings.Join(v.state.printed, "")
	v.state.printed = nil
	if block {
		lines = v.state.block(time.Now(), columns, rows)
	}
	return text, lines
}
