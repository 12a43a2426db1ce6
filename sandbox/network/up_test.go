package network_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/sandbox/network"
)

// Services that start at once ask for the network at once.
func TestANetworkThatCannotBeMadeIsUpForNobody(t *testing.T) {
	needRoot(t)
	noTun := errors.New("no /dev/net/tun")
	for range 20 {
		n := network.New(network.Options{Run: "aaaaaaaaam", Dir: filepath.Join(t.TempDir(), "network"), Connect: func(string) (func() error, error) { return nil, noTun }})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := n.Up(t.Context()); !errors.Is(err, noTun) {
					t.Errorf("Up: %v", err)
				}
			})
		}
		all.Wait()
		must(t, errors.Join(n.Down(), n.Wait()))
	}
}
