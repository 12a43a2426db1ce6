package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/rootless"
)

// interrupts handles the program's SIGINT, SIGTERM and SIGHUP: the first signal ends the run, and
// the second ends it at once.
type interrupts struct {
	again   chan struct{} // closed by the second signal
	signals chan os.Signal
	forget  func() // ends the delivery of signals
	done    sync.WaitGroup
}

func catchInterrupts(cancel context.CancelCauseFunc) *interrupts {
	in := &interrupts{again: make(chan struct{}), signals: make(chan os.Signal, 2)}
	in.forget = rootless.Notify(in.signals)
	// A closed standard output should cause a write error, not a sudden death that leaves
	// containers behind. SIGPIPE must not be ignored, because steps would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	in.done.Go(func() {
		first, ok := <-in.signals
		if !ok {
			return
		}
		cancel(interruption{first})
		if _, ok := <-in.signals; ok {
			close(in.again)
		}
	})
	return in
}

// interruption is the signal that ended a run.
type interruption struct{ by os.Signal }

func (i interruption) Error() string { return fmt.Sprintf("interrupted by signal: %v", i.by) }

// announce says, on the first signal, how long steps have to end and what a second signal does.
// Call the returned function to stop it.
func announce(ctx context.Context, grace time.Duration, say func(line string)) (done func()) {
	said := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		var by interruption
		if !errors.As(context.Cause(ctx), &by) {
			return
		}
		again := "a second signal kills them at once"
		if by.by == os.Interrupt {
			again = "Ctrl-C again to kill them at once"
		}
		say(fmt.Sprintf("interrupted: running steps have %s to end (%s)", report.Duration(event.Millis(grace)), again))
	})
	return func() {
		if !stop() {
			<-said
		}
	}
}

func (in *interrupts) stop() {
	in.forget()
	close(in.signals)
	in.done.Wait()
}
