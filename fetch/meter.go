package fetch

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/unpack"
)

const (
	meterPause  = 100 * time.Millisecond // minimum between two reports of an image
	meterWindow = 3 * time.Second        // period over which the rate is measured
)

// meter sums up the progress of an image's layers. Progress that comes too soon after a report is
// reported when the pause is over: no more may come for a long time, as when a server stalls.
type meter struct {
	report func(event.Progress)

	mu      sync.Mutex                        // guards what follows, and calls of report
	layers  map[digest.Digest]unpack.Progress // layers that were missing
	samples []sample                          // samples within the window and the last one before it, oldest first
	later   *time.Timer                       // reports when the pause is over; nil: nothing is held back
	ended   bool                              // nothing more is reported
	crashed error                             // panic of a report that was held back
}

type sample struct {
	at    time.Time
	bytes int64
}

func newMeter(report func(event.Progress)) *meter {
	return &meter{report: report, layers: map[digest.Digest]unpack.Progress{}}
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

// end ends the reports. Its error is a panic of one of them.
func (m *meter) end() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.later != nil {
		m.later.Stop()
	}
	return m.crashed
}

func (m *meter) add(p unpack.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.State == unpack.Present { // it was there, or another process has unpacked it
		delete(m.layers, p.Layer)
	} else {
		m.layers[p.Layer] = p
	}
	sum := m.sum()
	if n := len(m.samples); n > 0 && sum.LayersDone < sum.Layers {
		if left := meterPause - time.Since(m.samples[n-1].at); left > 0 {
			m.hold(left)
			return
		}
	}
	m.show(sum)
}

// hold reports the progress after a time.
func (m *meter) hold(left time.Duration) {
	if m.later != nil {
		return
	}
	m.later = time.AfterFunc(left, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.later = nil
		if !m.ended {
			m.crashed = crash.Catch(func() { m.show(m.sum()) })
		}
	})
}

// show reports the progress with its rate.
func (m *meter) show(sum event.Progress) {
	now := time.Now()
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
