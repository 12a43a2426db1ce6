package actions

import (
	"context"
	"errors"
	"testing"

	"github.com/stepexec/stepexec/crash"
)

// A bug in what goes on beside a job is an error of the job, and does not end the process.

func wantCrash(t *testing.T, err error) {
	t.Helper()
	if crashed := (*crash.Error)(nil); !errors.As(err, &crashed) || crashed.Value != "a bug" {
		t.Errorf("got %v, want a panic", err)
	}
}

func TestAPanicOfAWatcherEndsTheJob(t *testing.T) {
	ending, end := context.WithCancelCause(t.Context())
	s := &server{voice: NewVoice(nil), ending: ending, end: end}
	var all crash.Group
	s.beside(&all, func() { panic("a bug") })
	wantCrash(t, all.Wait())
	wantCrash(t, context.Cause(ending))
}

// brokenWriter meets a bug at every write.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { panic("a bug") }

func TestAPanicOfARelayIsAnErrorOfItsEnd(t *testing.T) {
	var r relay
	if err := r.open(brokenWriter{}); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if _, err := r.in.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	wantCrash(t, r.end())
}
