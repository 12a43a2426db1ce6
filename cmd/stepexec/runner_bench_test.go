package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkRunnerWoodpecker has the program run workflows of three short steps, two at once, for a server
// in this process, and tells how many a minute and what memory it takes: without work,
// and for every workflow that runs, with its guard.
func BenchmarkRunnerWoodpecker(b *testing.B) {
	for _, network := range []string{"none", "private"} {
		b.Run(network, func(b *testing.B) { benchmarkRunner(b, network) })
	}
}

func benchmarkRunner(b *testing.B, network string) {
	w := newWoodpeckerRunner(b)
	w.start("--network", network)
	w.server.Ended(w.push(w.step("warm", "true")))
	began := time.Now()
	for b.Loop() {
		first := w.push(w.step("a", "true"), w.step("b", "true"), w.step("c", "true"))
		second := w.push(w.step("a", "true"), w.step("b", "true"), w.step("c", "true"))
		w.server.Ended(first)
		w.server.Ended(second)
	}
	b.ReportMetric(2*float64(b.N)/time.Since(began).Minutes(), "workflows/min")
	idle := memory(b, w.root)
	const many = 10
	var ids []string
	for range many {
		ids = append(ids, w.push(w.step("a", "echo begun", "sleep 3")))
	}
	w.server.Until("all of them to run", func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return len(w.server.Get(id).Step("a").Lines) < 2 })
	})
	busy := memory(b, w.root)
	b.ReportMetric(float64(idle)/1024, "idle-MiB")
	b.ReportMetric(float64(busy-idle)/many/1024, "running-MiB")
	for _, id := range ids {
		w.server.Ended(id)
	}
}

// memory is the proportional memory of the processes that have the state root in their
// command line, the runner and the guards of runs, in KiB.
func memory(b *testing.B, root string) int {
	total := 0
	entries, err := filepath.Glob("/proc/[0-9]*/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for _, entry := range entries {
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(entry), "cmdline")) // one that is gone counts nothing
		if !strings.Contains(string(command), root) {
			continue
		}
		data, _ := os.ReadFile(entry)
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kib, _ := strconv.Atoi(fields[1])
				total += kib
			}
		}
	}
	return total
}
