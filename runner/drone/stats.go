package drone

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/stepexec/stepexec/runner/health"
)

// silent is how long the server may say nothing before the runner counts as sick: three
// long polls.
const silent = 2 * time.Minute

// stats are what /healthz and /metrics tell.
type stats struct {
	client  *client
	name    string
	size    int
	began   time.Time
	mu      sync.Mutex
	running int
	stages  map[string]float64 // by how they ended
	steps   map[string]float64
}

func newStats(o *Options, c *client) *stats {
	return &stats{client: c, name: o.Name, size: o.Capacity, began: time.Now(), stages: map[string]float64{}, steps: map[string]float64{}}
}

func (s *stats) add(running int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running += running
}

func (s *stats) count(of map[string]float64, end string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of[end]++
}

func (s *stats) healthy() error {
	last := s.began
	if at := s.client.contact.Load(); at > 0 {
		last = time.Unix(0, at)
	}
	s.mu.Lock()
	full := s.running >= s.size
	s.mu.Unlock()
	if ago := time.Since(last); ago > silent && !full {
		return fmt.Errorf("no answer of the server for %v", ago.Round(time.Second))
	}
	return nil
}

func (s *stats) metrics() []health.Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []health.Metric{
		health.One("stepexec_runner_capacity", "Stages that run at once at most.", health.Gauge, float64(s.size)),
		health.One("stepexec_runner_running", "Stages that run now.", health.Gauge, float64(s.running)),
		health.One("stepexec_runner_last_contact_seconds", "When the server answered last, in Unix seconds.", health.Gauge, float64(s.client.contact.Load())/1e9),
		{Name: "stepexec_runner_stages_total", Help: "Stages that ended, by status.", Kind: health.Counter, Label: "status", Values: maps.Clone(s.stages)},
		{Name: "stepexec_runner_steps_total", Help: "Steps that ended, by status.", Kind: health.Counter, Label: "status", Values: maps.Clone(s.steps)},
		health.Memory(),
	}
}
