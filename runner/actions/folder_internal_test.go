package actions

import (
	"context"
	"os"
	"path/filepath"
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

// Runners in containers that share a state root do not see each other's processes and folders.
func TestJobsOfRunnersElsewhereAreLeftAlone(t *testing.T) {
	j := jobs{dir: t.TempDir()}
	gone := owner{Temp: "/nowhere/_temp", Worker: 1 << 22, Started: "1"}
	elsewhere := gone
	elsewhere.Place = "another container"
	for _, test := range []struct {
		name         string
		owner        owner
		lives, isOld bool
		left         bool
	}{
		{name: "here, and gone", owner: gone},
		{name: "elsewhere, with a keeper", owner: elsewhere, lives: true, isOld: true, left: true},
		{name: "elsewhere, before it has a keeper", owner: elsewhere, left: true},
		{name: "elsewhere, and killed", owner: elsewhere, isOld: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			folder := filepath.Join(j.dir, "x-1")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(folder)
			if err := test.owner.write(folder); err != nil {
				t.Fatal(err)
			}
			if test.isOld {
				hour := time.Now().Add(-time.Hour)
				if err := os.Chtimes(folder, hour, hour); err != nil {
					t.Fatal(err)
				}
			}
			if test.lives {
				keeper, err := lockFolder(ctx, folder)
				if err != nil {
					t.Fatal(err)
				}
				defer keeper.Close()
			}
			if err := j.endLeft(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(folder); (err == nil) != test.left {
				t.Errorf("the job's folder: %v", err)
			}
		})
	}
}
