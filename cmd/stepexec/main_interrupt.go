package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/stepexec/stepexec/rootless"
)

// interrupts are the program's SIGINT, SIGTERM and SIGHUP: the first ends the
// run, the second ends it at once.
type interrupts struct {
	again   chan struct{} // closed by the second signal
	signals chan os.Signal
	forget  func() // end the sending to signals
	done    sync.WaitGroup
}

func catchInterrupts(cancel context.CancelCauseFunc) *interrupts {
	in := &interrupts{again: make(chan struct{}), signals: make(chan os.Signal, 2)}
	in.forget = rootless.Notify(in.signals)
	// A closed standard output is an error of writing, not a sudden death that
	// leaves containers. It must not be ignored: steps would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	in.done.Go(func() {
		first, ok := <-in.signals
		if !ok {
			return
		}
		cancel(fmt.Errorf("interrupted by signal: %v", first))
		if _, ok := <-in.signals; ok {
			close(in.again)
		}
	})
	return in
}

func (in *interrupts) stop() {
	in.forget()
	close(in.signals)
	in.done.Wait()
}
