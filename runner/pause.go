package runner

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause waits, and reports whether it waited for the whole time.
func Pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// firstPause is the mean length of the first pause of a Backoff.
const firstPause = 100 * time.Millisecond

// Backoff is the pauses between attempts at a call. Each is twice as long as the one before,
// up to Longest, give or take a half: runners that lost the same server do not all come back
// to it at once.
type Backoff struct {
	Longest time.Duration // mean length of the longest pause

	mean time.Duration // of the next pause; 0 before the first
}

// Next is the length of the next pause.
func (b *Backoff) Next() time.Duration {
	if b.mean == 0 {
		b.mean = min(firstPause, b.Longest)
	}
	pause := b.mean
	if pause > 0 {
		pause = pause/2 + rand.N(pause)
	}
	b.mean = min(2*b.mean, b.Longest)
	return pause
}
