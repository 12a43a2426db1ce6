package network_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox/network"
)

// TestPhasesOfANetwork measures, where a benchmark asks for it, what it takes to make the
// network of a run with two services and a step, and to take it away.
func TestPhasesOfANetwork(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("STEPEXEC_BENCH_ROUNDS"))
	if err != nil {
		t.Skip("bench/network.sh runs it")
	}
	needRoot(t)
	times := map[string][]time.Duration{}
	for i := range rounds {
		namespaces := []*os.File{newNamespace(t), newNamespace(t), newNamespace(t)}
		at := time.Now()
		lap := func(name string) {
			times[name] = append(times[name], time.Since(at))
			at = time.Now()
		}
		n := network.New(network.Options{Run: fmt.Sprintf("c%09d", i), Dir: filepath.Join(t.TempDir(), "network")})
		must(t, n.Up(t.Context()))
		var all []*network.Endpoint
		for _, namespace := range namespaces {
			e, err := n.Join(network.Member{})
			must(t, err)
			must(t, e.Plug(namespace))
			all = append(all, e)
		}
		lap("ready")
		for _, e := range all {
			must(t, e.Leave())
		}
		must(t, n.Down())
		lap("taken away")
	}
	for _, name := range []string{"ready", "taken away"} {
		list := times[name]
		slices.Sort(list)
		t.Logf("%s: min %v median %v max %v", name, list[0], list[len(list)/2], list[len(list)-1])
	}
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
		t.Errorf("left on the host: %s", left)
	}
}
