package fetch

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/unpack"
)

const (
	meterPause  = 100 * time.Millisecond // minimum between two reports of an image
	meterWindow = 3 * time.Second        // period over which the rate is measured
)

// meter sums up the progress of an image's layers. Package unpack never calls it
// from two goroutines at once.
type meter struct {
	report  func(event.Progress)
	now     func() time.Time
	layers  map[digest.Digest]unpack.Progress // layers that were missing
	samples []sample                          // samples within the window and the last one before it, oldest first
}

type sample struct {
	at    time.Time
	bytes int64
}

func newMeter(report func(event.Progress)) *meter {
	return &meter{report: report, now: time.Now, layers: map[digest.Digest]unpack.Progress{}}
}

// tee returns a listener that passes progress on to m and to other, which may be nil.
func (m *meter) tee(other func(string, unpack.Progress)) func(string, unpack.Progress) {
	return func(image string, p unpack.Progress) {
		if other != nil {
			other(image, p)
		}
		m.add(p)
	}
}

func (m *meter) add(p unpack.Progress) {
	if p.State == unpack.Present { // it was there, or another process has unpacked it
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
