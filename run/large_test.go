package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// largeMatrix writes a pipeline of so many steps in so many cells.
func largeMatrix(t testing.TB, cells, steps int) (file string) {
	t.Helper()
	var text strings.Builder
	text.WriteString("matrix:\n  N: [0")
	for i := 1; i < cells; i++ {
		fmt.Fprintf(&text, ", %d", i)
	}
	text.WriteString("]\nsteps:\n")
	for i := range steps {
		fmt.Fprintf(&text, "  - {name: s%d, image: 'oci:busybox', commands: [echo %d]}\n", i, i)
	}
	file = filepath.Join(t.TempDir(), "pipeline.yml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func request(t testing.TB, file string) *Request {
	r := &Request{File: file}
	r.Machine.Sandbox.Root = filepath.Join(t.TempDir(), "root")
	return r
}

func BenchmarkPlanMatrix(b *testing.B) {
	r := request(b, largeMatrix(b, 4, 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Jobs(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheMemoryOfAMatrixDoesNotGrowWithItsCells(t *testing.T) {
	r := request(t, largeMatrix(t, 64, 300))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	jobs, err := r.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	const most = 8 << 20 // a plan of 300 steps is some 2 MB, and its file less
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > most {
		t.Errorf("%d jobs hold %d bytes", len(jobs), held)
	}
	runtime.KeepAlive(jobs)
}

// endsAfter is a context that ends when it has been asked so many times whether it has.
type endsAfter struct {
	context.Context
	asks int
}

func (c *endsAfter) Err() error {
	if c.asks--; c.asks < 0 {
		return context.Canceled
	}
	return nil
}

func TestPlanningEndsWithItsContext(t *testing.T) {
	r := request(t, largeMatrix(t, 64, 300))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	jobs, err := r.Jobs(&endsAfter{Context: t.Context(), asks: 2})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, context.Canceled) || jobs != nil {
		t.Fatalf("%d jobs, error %v", len(jobs), err)
	}
	one := (after.TotalAlloc - before.TotalAlloc) / 2
	jobs, err = r.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&before)
	if all := before.TotalAlloc - after.TotalAlloc; all < 8*one {
		t.Errorf("%d jobs took %d bytes to plan; until the context ended it was %d", len(jobs), all, 2*one)
	}
}
