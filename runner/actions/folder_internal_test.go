package actions

import (
	"context"
	"testing"
	"time"
)

// A keeper lives on after a call that waited for the lock of builds and was cancelled.
func TestACancelledWaitForALockDoesNotTakeIt(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	held, err := lockFolder(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for range 4 {
		if file, err := lockFolder(cancelled, dir); err == nil {
			t.Fatalf("%s is locked twice", file.Name())
		}
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockFolder(ctx, dir)
	if err != nil {
		t.Fatalf("the lock is free, and cannot be taken: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
