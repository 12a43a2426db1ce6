package woodpecker

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/journal"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const (
	batchSize   = 1 << 20                // bytes of one call; gRPC takes 4 MiB
	batchPeriod = 500 * time.Millisecond // between two calls with nothing but lines
	maxQueued   = 16 << 20               // bytes of one workflow's lines that wait for the server; more make the steps wait

	// DefaultLogPatience is the default of Options.LogPatience.
	DefaultLogPatience = time.Minute
)

// outbox sends the reports of a workflow in the order in which they were put: the server has
// the whole log of a step before it knows the step's end. While the server is away, reports
// wait.
type outbox struct {
	agent    *agent
	build    *runner.Build
	workflow string
	kept     *journal.Entry // nil: reports wait in memory only

	mu      sync.Mutex
	state   *progress
	queue   []report
	bytes   int
	closed  bool
	room    *sync.Cond    // signals that the queue got shorter, or that nothing is sent any more
	more    chan struct{} // signals that the queue got longer, or was closed
	done    chan struct{} // closed when everything was sent, or given up
	gone    bool          // nothing is sent any more
	err     error         // panic while sending; final when done is closed
	hasLost bool          // the server did not take the last lines; of the sender alone
	stuck   bool          // the server has not got everything, and may get it later; final when done is closed
}

// report is a line or the state of a step.
type report struct {
	line *wire.LogEntry
	step *wire.StepState
}

// newOutbox begins with reports that are in the journal already; nil: none.
func newOutbox(ctx context.Context, a *agent, b *runner.Build, state *progress, kept *journal.Entry, waiting []report) *outbox {
	o := &outbox{agent: a, build: b, workflow: state.ID, kept: kept, state: state, queue: waiting, more: make(chan struct{}, 1), done: make(chan struct{})}
	for _, r := range waiting {
		o.bytes += len(r.line.GetData())
	}
	o.room = sync.NewCond(&o.mu)
	go o.run(ctx) // ends with close
	return o
}

// put adds a report. It waits while the queue is full.
func (o *outbox) put(r report) {
	o.mu.Lock()
	for o.bytes > maxQueued && !o.gone {
		o.room.Wait()
	}
	o.state.note(r)
	o.kept.Add(record{Line: r.line, Step: r.step})
	if r.step != nil {
		o.kept.Sync()
	}
	o.queue = append(o.queue, r)
	o.bytes += len(r.line.GetData())
	o.mu.Unlock()
	o.wake()
}

func (o *outbox) wake() {
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// close waits until everything was sent, or the agent's life is over. The error is a panic of
// the sender, after which reports were lost.
func (o *outbox) close() error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wake()
	<-o.done
	return o.err
}

func (o *outbox) run(ctx context.Context) {
	defer close(o.done)
	defer func() {
		o.mu.Lock()
		o.gone = true
		o.room.Broadcast()
		o.mu.Unlock()
	}()
	o.err = o.build.Protect(func() error {
		o.send(ctx)
		return nil
	})
}

func (o *outbox) send(ctx context.Context) {
	for {
		lines, step, ended := o.take()
		switch {
		case step != nil:
			o.sendStep(ctx, step)
			o.sent(1)
		case len(lines) > 0:
			o.sendLines(ctx, lines)
			if o.sent(len(lines)); !o.stuck {
				o.gather(ctx)
			}
		case ended:
			return
		default:
			select {
			case <-o.more:
			case <-ctx.Done():
				o.stuck = true
				return
			}
		}
		if ctx.Err() != nil || o.stuck {
			o.stuck = true
			return
		}
	}
}

// sent notes that the server has reports, or never takes them.
func (o *outbox) sent(n int) {
	if o.stuck || o.kept == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 && o.kept.Size() > maxKept {
		o.kept.Replace(record{Progress: o.state})
		return
	}
	o.kept.Add(record{Sent: n})
}

// gather waits for more lines, unless the state of a step waits.
func (o *outbox) gather(ctx context.Context) {
	timer := time.NewTimer(batchPeriod)
	defer timer.Stop()
	for !o.urgent() {
		select {
		case <-o.more:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (o *outbox) urgent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.bytes >= batchSize {
		return true
	}
	return len(o.queue) > 0 && o.queue[len(o.queue)-1].step != nil
}

// take removes what is sent next from the queue: the state of a step, or the lines before one.
func (o *outbox) take() (lines []*wire.LogEntry, step *wire.StepState, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, nil, o.closed
	}
	if step = o.queue[0].step; step != nil {
		o.queue = o.queue[1:]
		return nil, step, false
	}
	size, n := 0, 0
	for n < len(o.queue) && o.queue[n].line != nil && (n == 0 || size < batchSize) {
		size += proto.Size(o.queue[n].line)
		o.bytes -= len(o.queue[n].line.GetData())
		lines = append(lines, o.queue[n].line)
		n++
	}
	o.queue = o.queue[n:]
	o.room.Broadcast()
	return lines, nil, false
}

// sendLines sends lines of the log. A server that works and does not take them must not keep
// the results that come after them: then they are lost, and the log says so.
func (o *outbox) sendLines(ctx context.Context, lines []*wire.LogEntry) {
	how := manner{minor: true, patience: cmp.Or(o.agent.o.LogPatience, DefaultLogPatience)}
	if o.hasLost {
		how.patience = 0
	}
	err := o.log(ctx, how, lines)
	switch {
	case err == nil:
		o.hasLost = false
		o.agent.stats.LinesSent(len(lines))
		return
	case undelivered(ctx, err):
		o.stuck = true
		return
	case isTooLarge(err) && len(lines) > 1:
		half := len(lines) / 2
		if o.sendLines(ctx, lines[:half]); !o.stuck {
			o.sendLines(ctx, lines[half:])
		}
		return
	}
	o.hasLost = true
	o.agent.stats.LinesLost(len(lines))
	o.agent.o.Say(fmt.Sprintf("warning: workflow %s: the server rejected %d lines of the log: %v", o.workflow, len(lines), err))
	note := &wire.LogEntry{StepUuid: lines[0].GetStepUuid(), Line: lines[0].GetLine(), Time: lines[0].GetTime(),
		Data: fmt.Appendf(nil, "stepexec: the server rejected %d lines of the log from here on", len(lines))}
	_ = o.log(ctx, manner{minor: true}, []*wire.LogEntry{note}) // the agent's own log has it
}

func (o *outbox) log(ctx context.Context, how manner, lines []*wire.LogEntry) error {
	_, err := call(ctx, o.agent.client, how, wire.Log, &wire.LogRequest{LogEntries: lines})
	return err
}

func (o *outbox) sendStep(ctx context.Context, step *wire.StepState) {
	_, err := call(ctx, o.agent.client, prompt, wire.Update, &wire.UpdateRequest{Id: o.workflow, State: step})
	if err != nil && undelivered(ctx, err) {
		o.stuck = true
		return
	}
	if err != nil {
		o.agent.o.Say(fmt.Sprintf("warning: workflow %s: the server rejected the state of step %s: %v", o.workflow, step.GetStepUuid(), err))
	}
}
