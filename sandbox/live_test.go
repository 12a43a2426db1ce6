package sandbox_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

// A program that goes on, such as one that serves pages, must have all of its descriptors afterwards.
func TestASignalThatCannotBeSentClosesNothingOfOthers(t *testing.T) {
	root := t.TempDir()
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime()})
	must(t, err)
	defer func() { must(t, host.Close()) }()
	live, err := sandbox.ListLive(root)
	must(t, err)
	if len(live) != 1 {
		t.Fatalf("runs: %v", live)
	}
	const noSignal = unix.Signal(4711)
	_ = live[0].Signal(noSignal) // the first use may open what stays open
	before := openFiles(t)
	for range 3 {
		if err := live[0].Signal(noSignal); err == nil {
			t.Error("there is no such signal")
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, and %d were", after, before)
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err != nil {
		t.Errorf("standard input: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	return len(all)
}
