package pipeline

import (
	"strconv"
	"time"
)

// Retry says how often a step is tried, and after which ends of it.
type Retry struct {
	Attempts  int           // in all; 0 is one
	Backoff   time.Duration // pause before the second attempt, doubled before each further one; 0 is DefaultBackoff
	Causes    []RetryCause
	ExitCodes []int // none, and no Causes: any failure
}

// RetryCause is an end of a step that is not an exit code of its command.
type RetryCause string

// What a step can be tried again after, beside exit codes.
const (
	CauseError   RetryCause = "error"   // it could not be started, or stepexec could not do its part
	CauseOOM     RetryCause = "oom"     // it was out of memory
	CauseTimeout RetryCause = "timeout" // its time was over
)

const (
	// DefaultBackoff is the first pause between two attempts.
	DefaultBackoff = time.Second

	maxAttempts = 100
	maxPause    = 10 * time.Minute
)

// Pause is the time to wait after an attempt, which count from 1.
func (r Retry) Pause(attempt int) time.Duration {
	pause := r.Backoff
	if pause == 0 {
		pause = DefaultBackoff
	}
	for ; attempt > 1 && pause < maxPause; attempt-- {
		pause = min(2*pause, maxPause)
	}
	return pause
}

func (p *parser) retry(v value) Retry {
	if v.kind != mapKind && v.scalar() && v.kind != nullKind { // as other systems write it
		p.wrong(v, "must be a map, not "+article(v.kind), "write retry: {attempts: 3}")
		return Retry{}
	}
	var r Retry
	p.object(v, fields{
		"attempts": func(v value) { r.Attempts = int(p.whole(v, 1, maxAttempts)) },
		"backoff":  func(v value) { r.Backoff = p.duration(v) },
		"on":       func(v value) { p.retryOn(v, &r) },
	})
	if _, given := v.get("attempts"); v.kind == mapKind && !given {
		p.missing(v, "attempts")
	}
	return r
}

// retryOn reads an exit code or a word, or a list of both.
func (p *parser) retryOn(v value, r *Retry) {
	p.filled(v, func(v value) string {
		if v.kind != numberKind {
			if word := p.oneOf(v, "error", "oom", "timeout"); word != "" {
				r.Causes = append(r.Causes, RetryCause(word))
			}
			return ""
		}
		code, err := strconv.Atoi(v.text)
		if err != nil || code < 1 || code > 255 {
			p.wrong(v, v.text+" is not the exit code of a failure", "they go from 1 to 255")
		}
		r.ExitCodes = append(r.ExitCodes, code)
		return ""
	})
}
