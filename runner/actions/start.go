package actions

import (
	"fmt"
	"sync"
	"time"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/event"
)

// pullSay is the time between two lines of the log that say how far the pull of an image has come.
const pullSay = 10 * time.Second

// start is what is known about the start of the job's containers. The goroutine that delivers
// events and the one that serves calls both use it.
type start struct {
	pulls map[string]*pulling // by image; the first goroutine's alone

	mu    sync.Mutex
	ready bool
	why   string // reasons why containers did not start
}

// pulling is what the log tells of a pull.
type pulling struct {
	told   time.Time // last
	isLong bool      // the log has told of its progress
}

// event tells the hook what goes on until the job is ready.
func (s *start) event(voice *Voice, e event.Event) {
	switch e.Kind {
	case event.PullStarted:
		if s.pulls == nil {
			s.pulls = map[string]*pulling{}
		}
		s.pulls[e.Image] = &pulling{told: e.Time}
		voice.Say("pull " + e.Image)
	case event.PullProgress:
		if p := s.pulls[e.Image]; p != nil && e.Time.Sub(p.told) >= pullSay {
			p.told, p.isLong = e.Time, true
			voice.Say("pull " + e.Image + ": " + progress(e.Progress))
		}
	case event.PullFinished:
		if p := s.pulls[e.Image]; p != nil && p.isLong && e.Error == "" {
			voice.Say(fmt.Sprintf("pull %s: done after %v", e.Image, time.Duration(e.Duration).Round(time.Second)))
		}
	case event.Warning:
		voice.Say("warning: " + e.Text)
	case event.StepFinished:
		s.ended(e.Result)
	}
}

// progress says how far a pull has come.
func progress(p *event.Progress) string {
	text := units.BytesSize(float64(p.Bytes))
	if p.Total > 0 {
		text += " of " + units.BytesSize(float64(p.Total))
	}
	return fmt.Sprintf("%s, layers %d of %d, %s/s", text, p.LayersDone, p.Layers, units.BytesSize(float64(p.Rate)))
}

// ended notes the end of a container.
func (s *start) ended(r *event.StepResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ready:
	case r.Error != "":
		s.why += fmt.Sprintf("; %s: %s", r.Step, r.Error)
	case r.Status == event.Failed || r.NotReady:
		s.why += fmt.Sprintf("; %s ended with exit code %d", r.Step, r.ExitCode)
	}
}

func (s *start) reasons() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (s *start) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

func (s *start) setReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}
