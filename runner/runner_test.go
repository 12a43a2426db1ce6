package runner_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/runner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is the log of a runner.
type log struct {
	mu   sync.Mutex
	text string
}

func (l *log) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += line + "\n"
}

func TestServiceEnds(t *testing.T) {
	sick, refused := errors.New("sick"), errors.New("refused")
	for _, test := range []struct {
		name string
		work func(*runner.Life, context.CancelFunc) error
		want error
	}{
		{"when told to drain", func(l *runner.Life, drain context.CancelFunc) error {
			drain()
			<-l.Polling.Done()
			return l.Calls.Err()
		}, nil},
		{"when it has done its work", func(l *runner.Life, _ context.CancelFunc) error {
			l.Finish()
			<-l.Polling.Done()
			return l.Calls.Err()
		}, nil},
		{"when it cannot go on", func(l *runner.Life, _ context.CancelFunc) error {
			l.Fail(sick)
			l.Fail(errors.New("another"))
			<-l.Polling.Done()
			return l.Calls.Err()
		}, sick},
		{"when its work fails", func(*runner.Life, context.CancelFunc) error { return refused }, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, drain := context.WithCancel(t.Context())
			defer drain()
			s := runner.Service{Say: (&log{}).say}
			err := s.Run(ctx, func(l *runner.Life) error { return test.work(l, drain) })
			if !errors.Is(err, test.want) {
				t.Errorf("the error is %v, not %v", err, test.want)
			}
		})
	}
}

func TestBuildSaysWhyItEnded(t *testing.T) {
	kill := make(chan struct{})
	for _, test := range []struct {
		name string
		end  func(*runner.Build)
		want string
	}{
		{"it came to its end", func(b *runner.Build) { b.End() }, ""},
		{"the server cancelled it", func(b *runner.Build) { b.Cancel() }, "cancelled on the server"},
		{"a watcher met a bug", func(b *runner.Build) { b.Watch(func(context.Context) { panic("a bug") }) }, "a bug in stepexec"},
		{"the runner was killed", func(*runner.Build) { close(kill) }, "the runner was shut down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var said log
			s := runner.Service{Kill: kill, Say: said.say}
			_ = s.Run(t.Context(), func(l *runner.Life) error {
				b := l.Begin("build 7")
				test.end(b)
				<-b.Context.Done()
				b.End()
				got := ""
				if err := b.Cause(); err != nil {
					got = err.Error()
				}
				if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
					t.Errorf("the cause is %q, not %q", got, test.want)
				}
				return nil
			})
			if logged := strings.Contains(said.text, "error: build 7: panic: a bug\n"); logged != strings.Contains(test.want, "bug") {
				t.Errorf("the log is %q", said.text)
			}
		})
	}
}

func TestBackoffGrowsToItsLongestPause(t *testing.T) {
	b := runner.Backoff{Longest: time.Second}
	for i, mean := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		mean *= time.Millisecond
		if got := b.Next(); got < mean/2 || got >= mean*3/2 {
			t.Errorf("pause %d is %v, not about %v", i, got, mean)
		}
	}
	none := runner.Backoff{}
	if got := none.Next(); got != 0 {
		t.Errorf("without a longest pause it is %v", got)
	}
}

func TestTimeoutOfAServer(t *testing.T) {
	for minutes, want := range map[int64]time.Duration{
		0: time.Hour, -5: time.Hour, 1: time.Minute, 90: 90 * time.Minute, 1 << 62: 365 * 24 * time.Hour,
	} {
		if got := runner.Timeout(minutes); got != want {
			t.Errorf("%d minutes are %v, not %v", minutes, got, want)
		}
	}
}

func TestStatsTellWhetherTheServerAnswers(t *testing.T) {
	s := runner.NewStats("stage", 1, 0)
	if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("silence: %v", err)
	}
	s = runner.NewStats("stage", 1, time.Hour)
	s.Answered()
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
	over := s.BuildBegan()
	if !s.IsFull() {
		t.Error("one of one is not full")
	}
	over()
	s.BuildEnded("success")
	s.StepEnded("failure")
	var text strings.Builder
	for _, m := range s.Metrics() {
		text.WriteString(m.String())
	}
	for _, line := range []string{"stepexec_runner_running 0\n", `stepexec_runner_stages_total{status="success"} 1`, `stepexec_runner_steps_total{status="failure"} 1`, "stepexec_runner_capacity 1\n"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
}
