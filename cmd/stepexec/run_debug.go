package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
)

// debugFlags are the flags that help to find out why a step fails.
type debugFlags struct {
	keep  string // "", all or failed
	shell bool   // --shell-on-failure: a shell in steps that fail

	before, after []string // --shell-before, --shell-after: names of steps that a shell is opened in
}

func (f *debugFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.keep, "keep", "", "keep root file systems of steps after the run, for stepexec shell: `WHICH` is all or failed; alone it is all")
	flags.Lookup("keep").NoOptDefVal = "all"
	f.addShell(flags)
	flags.StringArrayVar(&f.before, "shell-before", nil, "open a shell before this `STEP` begins, in a container like its own (may be repeated)")
	flags.StringArrayVar(&f.after, "shell-after", nil, "open a shell in this `STEP` when it has ended, whether it failed or not (may be repeated)")
}

// wantsShell reports whether any step may get a shell, for which the terminal is needed.
func (f *debugFlags) wantsShell() bool { return f.shell || len(f.before)+len(f.after) > 0 }

func (f *debugFlags) addShell(flags *pflag.FlagSet) {
	flags.BoolVar(&f.shell, "shell-on-failure", false, "open a shell in a step that fails; the exit code stays that of the step")
}

// keepAll reports whether all steps are kept, rather than only failed ones or none.
func (f *debugFlags) keepAll() (bool, error) {
	switch f.keep {
	case "", "all", "failed":
		return f.keep == "all", nil
	}
	return false, fmt.Errorf("--keep=%s: must be all or failed", f.keep)
}

// lend makes the engine open shells on this process's terminal, and returns a function that shows
// events: they wait while a shell has the terminal.
func (f *debugFlags) lend(o *engine.Options, show func(*event.Event)) func(*event.Event) {
	o.OnFailure.Keep = f.keep == "failed"
	if !f.wantsShell() {
		return show
	}
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		sayOnStderr("warning: --shell-on-failure: no shell will be opened: standard input and output are not a terminal (--keep=failed keeps the step for stepexec shell)")
		return show
	}
	lease := &terminalLease{show: show, free: make(chan struct{}, 1)}
	o.Shell = &engine.Shell{OnFailure: f.shell, Before: f.before, After: f.after, Terminal: os.Stdin, Out: os.Stdout, Borrow: lease.borrow}
	return lease.event
}

// terminalLease lends the terminal to one shell at a time. Events that arrive meanwhile are held
// back; when there are too many, their senders wait.
type terminalLease struct {
	show func(*event.Event)
	free chan struct{} // holds an element while the terminal is lent

	mu   sync.Mutex
	back *sync.Cond // signalled when the terminal is given back; nil: it is not lent
	held []event.Event
}

// maxHeld is the number of events that are held back, of at most 64 KiB each.
const maxHeld = 10000

// borrow waits while another shell has the terminal.
func (l *terminalLease) borrow(ctx context.Context) (giveBack func(), err error) {
	select {
	case l.free <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = sync.NewCond(&l.mu)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range l.held {
			l.show(&l.held[i])
		}
		l.back.Broadcast()
		l.held, l.back = nil, nil
		<-l.free
	}, nil
}

func (l *terminalLease) event(e *event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.back != nil && len(l.held) >= maxHeld {
		l.back.Wait()
	}
	if l.back != nil {
		l.held = append(l.held, *e)
		return
	}
	l.show(e)
}
