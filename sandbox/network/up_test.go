package network_test

import (
	"errors"
	"fmt"
	"os/exec"
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

// pasta gives its rights up before it opens the namespace.
func TestAProgramWithoutRightsOpensTheNamespaceThatItConnects(t *testing.T) {
	needRoot(t)
	opened := errors.New("nobody opened it")
	n := network.New(network.Options{Run: "aaaaaaaaan", Dir: filepath.Join(t.TempDir(), "network"), Connect: func(path string) (func() error, error) {
		out, err := exec.Command("setpriv", "--inh-caps=-all", "--bounding-set=-all", "sh", "-c", `exec 3< "$0"`, path).CombinedOutput()
		opened = err
		if err != nil {
			opened = fmt.Errorf("open %s: %w: %s", path, err, out)
		}
		return func() error { return nil }, nil
	}})
	if err := errors.Join(n.Up(t.Context()), n.Down(), n.Wait()); err != nil {
		t.Error(err)
	}
	if opened != nil {
		t.Error(opened)
	}
}
