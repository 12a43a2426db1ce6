package actions

import (
	"encoding/json"
	"io"
	"sync"
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
	out io.Writer // nil after the last report
}

// NewVoice speaks to the hook at the other end of out.
func NewVoice(out io.Writer) *Voice { return &Voice{out: out} }

// Say tells a line for the log of the runner.
func (v *Voice) Say(line string) { _ = v.tell(report{Say: line}) } // a hook that was killed reads nothing

// end tells the last report.
func (v *Voice) end(r report) error {
	err := v.tell(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.out = nil
	return err
}

func (v *Voice) tell(r report) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.out == nil {
		return nil
	}
	return json.NewEncoder(v.out).Encode(r)
}
