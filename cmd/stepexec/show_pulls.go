package main

import (
	"context"
	"os"
	"sync"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/report/live"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
)

// pullView shows the progress of images on stderr, if that is a terminal, until it is ended.
// Otherwise it shows nothing.
type pullView struct {
	shows bool // whether there was a view when it was made, even after it is over
	mu    sync.Mutex
	view  *liveView // nil if there is none, or it is over
}

func newPullView() *pullView {
	terminal, term := terminalOf(os.Stderr), os.Getenv("TERM")
	if terminal == nil || term == "" || term == "dumb" {
		return &pullView{}
	}
	style := report.Style{Terminal: true, Colour: colours(true, os.Getenv)}
	return &pullView{shows: true, view: newLiveView(os.Stderr, terminal, live.Options{Style: style})}
}

// event is the callback for fetch.Fetcher.
func (p *pullView) event(e event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view != nil {
		p.view.Event(&e)
	}
}

// say shows one of stepexec's own messages.
func (p *pullView) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view == nil {
		sayOnStderr(line)
		return
	}
	p.view.Say(line)
}

// end removes the drawing. It may be called twice. It ignores errors of drawing on stderr, because
// there is nowhere to report them.
func (p *pullView) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view != nil {
		_ = p.view.End(0)
		p.view = nil
	}
}

// takeIn calls into to put images into the store, and shows the progress on a terminal, to which
// into must not write.
func takeIn(ctx context.Context, s settings.Settings, root, runtime, platform string, into func(*fetch.Fetcher) error) error {
	pulls := newPullView()
	defer pulls.end()
	m := run.Machine{Sandbox: sandbox.Options{Root: root, Runtime: runtime}, Settings: s, Say: sayOnStderr}
	return run.TakeIn(ctx, m, platform, pulls.event, func(fetcher *fetch.Fetcher) error {
		defer pulls.end()
		return into(fetcher)
	})
}
