package woodpecker

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/runner/health"
)

// stats are what an agent tells of itself.
type stats struct {
	capacity    int
	started     time.Time
	contact     atomic.Int64 // Unix seconds of the last answer
	running     atomic.Int64
	failedCalls atomic.Int64
	lines       atomic.Int64
	lostLines   atomic.Int64

	mu        sync.Mutex
	workflows map[string]float64 // ended, by status
	steps     map[string]float64
}

func newStats(capacity int) *stats {
	return &stats{capacity: capacity, started: time.Now(), workflows: map[string]float64{}, steps: map[string]float64{}}
}

func (s *stats) count(in map[string]float64, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in[status]++
}

// contactTime is how long an agent may be without an answer: it says every ten seconds
// that it lives.
const contactTime = time.Minute

// healthy returns nil while the server answers.
func (s *stats) healthy() error {
	last := s.contact.Load()
	switch {
	case last == 0 && time.Since(s.started) > contactTime:
		return errors.New("the server has never answered")
	case last != 0 && time.Since(time.Unix(last, 0)) > contactTime:
		return fmt.Errorf("the server has not answered since %s", time.Unix(last, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

func (s *stats) metrics() []health.Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := func(name, help string, values map[string]float64) health.Metric {
		return health.Metric{Name: name, Help: help, Kind: health.Counter, Label: "status", Values: maps.Clone(values)}
	}
	return []health.Metric{
		health.One("stepexec_runner_capacity", "Workflows that may run at once.", health.Gauge, float64(s.capacity)),
		health.One("stepexec_runner_running", "Workflows that run now.", health.Gauge, float64(s.running.Load())),
		by("stepexec_runner_workflows_total", "Workflows that have ended.", s.workflows),
		by("stepexec_runner_steps_total", "Steps that have ended.", s.steps),
		health.One("stepexec_runner_log_lines_total", "Lines that were sent to the server.", health.Counter, float64(s.lines.Load())),
		health.One("stepexec_runner_lost_log_lines_total", "Lines that the server did not take.", health.Counter, float64(s.lostLines.Load())),
		health.One("stepexec_runner_failed_calls_total", "Calls of the server that failed, retried ones too.", health.Counter, float64(s.failedCalls.Load())),
		health.One("stepexec_runner_last_contact_seconds", "When the server answered last, in Unix time.", health.Gauge, float64(s.contact.Load())),
		health.Memory(),
	}
}
