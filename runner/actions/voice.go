package actions

import (
	"context"
	"encoding/json"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// report is a line that a keeper writes for the hook that has started it. Ready or Failed is
// the last one.
type report struct {
	Say    string    `json:"say,omitempty"` // a line for the runner's log
	Ready  *Response `json:"ready,omitempty"`
	Failed string    `json:"failed,omitempty"`
}

// Voice is what a keeper tells the hook that has started it, from any goroutine. After the
// last report the hook has ended, and the voice is silent: a write to its closed pipe would
// end the keeper.
type Voice struct {
	mu  sync.Mutex
	out *os.File // pipe to the hook; nil after the last report
}

// NewVoice speaks to the hook at the other end of out.
func NewVoice(out *os.File) *Voice { return &Voice{out: out} }

// Say tells a line for the log of the runner.
func (v *Voice) Say(line string) { _ = v.tell(report{Say: line}) } // a hook that was killed reads nothing

// end tells the last report.
func (v *Voice) end(r report) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { v.out = nil }()
	return v.write(r)
}

func (v *Voice) tell(r report) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.write(r)
}

func (v *Voice) write(r report) error {
	if v.out == nil {
		return nil
	}
	return json.NewEncoder(v.out).Encode(r)
}

// hookLook bounds, in milliseconds, how long one look for the hook's death takes.
const hookLook = 200

// lost waits until the hook has died before the last report; false: the report was told, or ctx
// has ended.
func (v *Voice) lost(ctx context.Context) bool {
	for {
		out := v.listener()
		if out == nil || ctx.Err() != nil {
			return false
		}
		poll := []unix.PollFd{{Fd: int32(out.Fd())}} // POLLERR comes by itself: nobody reads the pipe
		if n, err := unix.Poll(poll, hookLook); err == nil && n > 0 && poll[0].Revents&unix.POLLERR != 0 {
			return v.listener() != nil // it may have ended as it should
		}
	}
}

func (v *Voice) listener() *os.File {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.out
}
