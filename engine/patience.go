package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
)

var errUnhealthy = errors.New("unhealthy")

// patience counts failures of a health check as Docker does: one for each interval, none in the
// start period. The check is tried more often than that, to see success early, so that most
// failures do not count.
type patience struct {
	interval    time.Duration // between two tries whose failure counts
	startPeriod time.Duration // from the start, in which no failure counts
	retries     int           // failures in a row that are too many

	next   time.Time // when a failure counts again
	failed int       // failures that counted
}

// begin begins to count for a service that has just been started.
func (p *patience) begin(now time.Time) { p.next = now.Add(max(p.startPeriod, p.interval)) }

// isOver notes a failure and reports whether the service is unhealthy. On nil it never is.
func (p *patience) isOver(now time.Time) bool {
	if p == nil || now.Before(p.next) {
		return false
	}
	p.failed++
	p.next = now.Add(p.interval)
	return p.failed >= p.retries
}

// String says what an unhealthy service has done.
func (p *patience) String() string {
	times := "tries"
	if p.retries == 1 {
		times = "try"
	}
	after := ""
	if p.startPeriod > 0 {
		after = fmt.Sprintf(" after a start period of %s", pipeline.DurationText(p.startPeriod))
	}
	return fmt.Sprintf("unhealthy: its health check failed for %d %s, one in %s%s", p.retries, times, pipeline.DurationText(p.interval), after)
}

// newHealth has a service be judged as Docker judges a container. It returns nil for a service
// without a health check.
func (r *run) newHealth(n *node, image *fetch.Image, asked *pipeline.Ready) (*readiness, error) {
	check := &healthcheck{}
	if asked.Exec == nil {
		var err error
		if check, err = healthcheckOf(image); err != nil || check == nil {
			return nil, err
		}
	}
	h := asked.Health
	rd := r.newProbing(n, image)
	rd.timeout = 0
	rd.interval = orDefault(h.StartInterval, orDefault(check.StartInterval, rd.interval))
	rd.patience = &patience{
		interval:    orDefault(h.Interval, orDefault(check.Interval, healthInterval)),
		startPeriod: orDefault(h.StartPeriod, check.StartPeriod),
		retries:     h.Retries,
	}
	for _, retries := range []int{check.Retries, healthRetries} {
		if rd.patience.retries <= 0 {
			rd.patience.retries = retries
		}
	}
	rd.interval = min(rd.interval, rd.patience.interval) // an interval shorter than that of other probes
	timeout := orDefault(h.Timeout, orDefault(check.Timeout, healthTimeout))
	if asked.Exec != nil {
		rd.probes = []probe{rd.execProbe(asked.Exec, timeout)}
		return rd, nil
	}
	p := rd.execProbe(check.argv(), timeout)
	p.what = "its image's healthcheck, " + p.what
	rd.probes = []probe{p}
	return rd, nil
}
