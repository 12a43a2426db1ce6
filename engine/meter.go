package engine

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/unpack"
)

const (
	meterPause  = 100 * time.Millisecond // at least, between two reports of an image
	meterWindow = 3 * time.Second        // that the rate is of
)

// meter sums up the progress of an image's layers. unpack does not call it from two
// goroutines at once.
type meter struct {
	report  func(event.Progress)
	now     func() time.Time
	layers  map[digest.Digest]unpack.Progress // that were not there
	samples []sample                          // of the window and the last one before it, the oldest first
}

type sample struct {
	at    time.Time
	bytes int64
}

func newMeter(report func(event.Progress)) *meter {
	return &meter{report: report, now: time.Now, layers: map[digest.Digest]unpack.Progress{}}
}

// tee returns what tells both m and other, which may be nil, of progress.
func (m *meter) tee(other func(string, unpack.Progress)) func(string, unpack.Progress) {
	return func(image string, p unpack.Progress) {
		if other != nil {
			other(image, p)
		}
		m.add(p)
	}
}

func (m *meter) add(p unpack.Progress) {
	if p.State == unpack.Present { // it was there, or another process has brought it
		delete(m.layers, p.Layer)
	} else {
		m.layers[p.Layer] = p
	}
	sum := m.sum()
	now := m.now()
	isLast := sum.LayersDone == sum.Layers
	if n := len(m.samples); n > 0 && now.Sub(m.samples[n-1].at) < meterPause && !isLast {
		return
	}
	m.samples = append(m.samples, sample{now, sum.Bytes})
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= meterWindow {
		m.samples = m.samples[1:]
	}
	oldest := m.samples[0]
	if took := now.Sub(oldest.at); took > 0 {
		sum.Rate = max(0, int64(float64(sum.Bytes-oldest.bytes)/took.Seconds()))
	}
	if sum.Layers > 0 {
		m.report(sum)
	}
}

func (m *meter) sum() event.Progress {
	var sum event.Progress
	known := true
	for _, p := range m.layers {
		sum.Layers++
		sum.Bytes += p.Bytes
		sum.Total += p.Total
		known = known && p.Total >= 0
		if p.State == unpack.Done {
			sum.LayersDone++
		}
	}
	if !known {
		sum.Total = 0
	}
	return sum
}
