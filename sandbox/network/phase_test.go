package network_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox/network"
)

// BenchmarkNetworkOfARun measures what it takes to make the network of a run with two
// services and a step (ready-ms), and to take it away (away-ms); both are medians.
func BenchmarkNetworkOfARun(b *testing.B) {
	needRoot(b)
	var ready, away []time.Duration
	for b.Loop() {
		namespaces := []*os.File{newNamespace(b), newNamespace(b), newNamespace(b)}
		at := time.Now()
		n := network.New(network.Options{Run: fmt.Sprintf("c%09d", len(ready)), Dir: filepath.Join(b.TempDir(), "network")})
		must(b, n.Up(b.Context()))
		var all []*network.Endpoint
		for _, namespace := range namespaces {
			e, err := n.Join(network.Member{})
			must(b, err)
			must(b, e.Plug(namespace))
			all = append(all, e)
		}
		ready = append(ready, time.Since(at))
		at = time.Now()
		for _, e := range all {
			must(b, e.Leave())
		}
		must(b, n.Down())
		away = append(away, time.Since(at))
		n.Wait()
	}
	b.ReportMetric(median(ready), "ready-ms")
	b.ReportMetric(median(away), "away-ms")
}

func median(times []time.Duration) (milliseconds float64) {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}

func TestAHundredRunsAtOnceDoNotCollideAndLeaveNothing(t *testing.T) {
	needRoot(t)
	all := make([]*network.Bridged, 100)
	each := func(do func(i int) error) {
		var running sync.WaitGroup
		for i := range all {
			running.Go(func() {
				if err := do(i); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
	}
	each(func(i int) error {
		all[i] = network.New(network.Options{Run: fmt.Sprintf("d%09d", i), Dir: filepath.Join(t.TempDir(), "network")})
		return all[i].Up(t.Context())
	})
	subnets := map[string]bool{}
	for _, n := range all {
		subnets[n.Router().V4.String()] = true
	}
	if len(subnets) != len(all) {
		t.Errorf("%d runs have %d subnets", len(all), len(subnets))
	}
	each(func(i int) error { return all[i].Down() })
	if left := traces(t, "d0000000"); left != "" {
		t.Errorf("left behind: on the host %s", left)
	}
}
