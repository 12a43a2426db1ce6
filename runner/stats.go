package runner

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/runner/health"
)

// Stats are the numbers that a runner tells about itself.
type Stats struct {
	unit     string // what the server calls a build: stage or workflow
	capacity int
	silence  time.Duration
	began    time.Time
	contact  atomic.Int64 // time of the server's last answer, in Unix nanoseconds; 0: none yet

	failedCalls, lines, lostLines atomic.Int64

	mu      sync.Mutex
	running int
	builds  map[string]float64 // that have ended, by status
	steps   map[string]float64
	spent   map[string]float64 // seconds of builds that have ended, by status
	phases  map[string]float64 // seconds of steps that have ended: queue, pull, start and run
	kinds   map[string]float64 // steps that have ended: step, service or detached
}

// NewStats is for a runner that runs up to capacity builds at once. It counts as sick when
// its server has not answered for the time silence.
func NewStats(unit string, capacity int, silence time.Duration) *Stats {
	return &Stats{unit: unit, capacity: capacity, silence: silence, began: time.Now(), builds: map[string]float64{}, steps: map[string]float64{},
		spent: map[string]float64{}, phases: map[string]float64{}, kinds: map[string]float64{}}
}

// Answered notes that the server has answered now.
func (s *Stats) Answered() { s.contact.Store(time.Now().UnixNano()) }

// AnsweredSince reports whether the server has answered a call since then.
func (s *Stats) AnsweredSince(then time.Time) bool { return s.contact.Load() > then.UnixNano() }

// CallFailed counts a call that failed, each attempt once.
func (s *Stats) CallFailed() { s.failedCalls.Add(1) }

// LinesSent counts lines of logs that the server has.
func (s *Stats) LinesSent(n int) { s.lines.Add(int64(n)) }

// LinesLost counts lines of logs that the server rejected.
func (s *Stats) LinesLost(n int) { s.lostLines.Add(int64(n)) }

// BuildBegan notes that a build runs. The returned function notes that it runs no more.
func (s *Stats) BuildBegan() (over func()) {
	add := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running += n
	}
	add(1)
	return func() { add(-1) }
}

// BuildEnded counts a build by how it ended.
func (s *Stats) BuildEnded(status string) { s.count(s.builds, status) }

// StepEnded counts a step by how it ended.
func (s *Stats) StepEnded(status string) { s.count(s.steps, status) }

// BuildTook adds the time that a build took, by how it ended.
func (s *Stats) BuildTook(status string, time time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent[status] += time.Seconds()
}

// StepTook adds the phases of a step, and counts it by its kind.
func (s *Stats) StepTook(result *event.StepResult) {
	kind := "step"
	switch {
	case result.Service:
		kind = "service"
	case result.Detached:
		kind = "detached"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds[kind]++
	for phase, took := range map[string]event.Millis{"queue": result.Queue, "pull": result.Pull, "start": result.Start, "run": result.Duration} {
		s.phases[phase] += time.Duration(took).Seconds()
	}
}

func (s *Stats) count(ends map[string]float64, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends[status]++
}

// IsFull reports whether as many builds run as may run at once.
func (s *Stats) IsFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running >= s.capacity
}

// Healthy returns nil while the server answers.
func (s *Stats) Healthy() error {
	last := s.began
	if at := s.contact.Load(); at > 0 {
		last = time.Unix(0, at)
	}
	if ago := time.Since(last); ago > s.silence {
		return fmt.Errorf("the server has not answered for %v", ago.Round(time.Second))
	}
	return nil
}

// Metrics are the numbers for /metrics.
func (s *Stats) Metrics() []health.Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	units := s.unit + "s"
	title := strings.ToUpper(units[:1]) + units[1:]
	labelled := func(label, name, help string, values map[string]float64) health.Metric {
		return health.Metric{Name: name, Help: help, Kind: health.Counter, Label: label, Values: maps.Clone(values)}
	}
	by := func(name, help string, values map[string]float64) health.Metric {
		return labelled("status", name, help, values)
	}
	return []health.Metric{
		health.One("stepexec_runner_capacity", title+" that may run at once.", health.Gauge, float64(s.capacity)),
		health.One("stepexec_runner_running", title+" that run now.", health.Gauge, float64(s.running)),
		health.One("stepexec_runner_last_contact_seconds", "Time of the server's last answer, in Unix seconds.", health.Gauge, float64(s.contact.Load())/1e9),
		by("stepexec_runner_"+units+"_total", title+" that have ended, by status.", s.builds),
		by("stepexec_runner_"+s.unit+"_seconds_total", "Time of "+units+" that have ended, by status.", s.spent),
		by("stepexec_runner_steps_total", "Steps that have ended, by status.", s.steps),
		labelled("kind", "stepexec_runner_step_kinds_total", "Steps that have ended, by kind.", s.kinds),
		labelled("phase", "stepexec_runner_step_seconds_total", "Time of steps that have ended, by phase.", s.phases),
		health.One("stepexec_runner_log_lines_total", "Lines of logs sent to the server.", health.Counter, float64(s.lines.Load())),
		health.One("stepexec_runner_lost_log_lines_total", "Lines of logs that the server rejected.", health.Counter, float64(s.lostLines.Load())),
		health.One("stepexec_runner_failed_calls_total", "Failed calls of the server, retried ones included.", health.Counter, float64(s.failedCalls.Load())),
		health.Memory(),
	}
}
