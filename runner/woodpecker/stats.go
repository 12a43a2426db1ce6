package woodpecker

import (
	"sync/atomic"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/health"
)

// stats are the numbers of an agent: those of every runner, and those of calls and logs.
type stats struct {
	*runner.Stats
	failedCalls atomic.Int64
	lines       atomic.Int64 // lines of logs that the server has
	lostLines   atomic.Int64 // lines of logs that the server rejected
}

func newStats(capacity int) *stats {
	return &stats{Stats: runner.NewStats("workflow", capacity, silence)}
}

func (s *stats) metrics() []health.Metric {
	return s.Metrics(
		health.One("stepexec_runner_log_lines_total", "Lines sent to the server.", health.Counter, float64(s.lines.Load())),
		health.One("stepexec_runner_lost_log_lines_total", "Lines that the server rejected.", health.Counter, float64(s.lostLines.Load())),
		health.One("stepexec_runner_failed_calls_total", "Failed calls of the server, retried ones included.", health.Counter, float64(s.failedCalls.Load())),
	)
}
