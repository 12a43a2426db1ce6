package crash_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/crash"
)

func TestAPanicBecomesAnErrorWithItsStack(t *testing.T) {
	var none []int
	for _, test := range []struct {
		name      string
		panics    func()
		text, log string // parts of the error and of the log
		hidden    string // not part of the error
	}{
		{"of the runtime", func() { _ = none[len(none)] }, "index out of range", "panic: runtime error: index out of range", "goroutine"},
		{"with a value", func() { panic("hunter2") }, "stepexec itself failed", "panic: hunter2", "hunter2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := func() (err error) {
				defer crash.Recover(&err)
				test.panics()
				return nil
			}()
			var c *crash.Error
			if !errors.As(err, &c) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), test.hidden) {
				t.Fatalf("the error is %v", err)
			}
			if !strings.Contains(c.Log(), test.log) || !strings.Contains(c.Log(), "crash_test.go") {
				t.Errorf("the log is %s", c.Log())
			}
		})
	}
}

func TestAnErrorWithoutPanicStays(t *testing.T) {
	want := errors.New("plain")
	err := func() (err error) {
		defer crash.Recover(&err)
		return want
	}()
	if err != want {
		t.Errorf("got %v", err)
	}
}

func TestAGroupTellsThePanicsOfItsGoroutinesWhenAllHaveEnded(t *testing.T) {
	var g crash.Group
	ended := make(chan struct{})
	g.Go(func() { panic("one") })
	g.Go(func() { panic("two") })
	g.Go(func() { close(ended) })
	err := g.Wait()
	<-ended
	if err == nil || strings.Count(err.Error(), "stepexec itself failed") != 2 {
		t.Errorf("got %v", err)
	}
	var quiet crash.Group
	quiet.Go(func() {})
	if err := quiet.Wait(); err != nil {
		t.Errorf("without a panic: %v", err)
	}
}
