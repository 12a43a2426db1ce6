package network_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox/network"
)

// BenchmarkNetworkOfThreeContainers makes and takes away the network of a run
// with two services and a step. Their namespaces, which a runtime makes, are
// not part of it.
func BenchmarkNetworkOfThreeContainers(b *testing.B) {
	if os.Getenv(inOwnHost) == "" {
		b.Skip("needs root, for network namespaces")
	}
	dir := b.TempDir()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := range b.N {
		var namespaces []*os.File
		b.StopTimer()
		for range 3 {
			check(onThread(func() error {
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					return err
				}
				file, err := os.Open("/proc/thread-self/ns/net")
				namespaces = append(namespaces, file)
				return err
			}))
		}
		b.StartTimer()
		n := network.New(network.Options{Run: fmt.Sprintf("b%09d", i), Dir: filepath.Join(dir, fmt.Sprint(i))})
		check(n.Up(b.Context()))
		var endpoints []*network.Endpoint
		for _, namespace := range namespaces {
			e, err := n.Join(network.Member{Names: []string{namespace.Name()}})
			check(err)
			check(e.Plug(namespace))
			endpoints = append(endpoints, e)
		}
		b.StopTimer()
		for _, namespace := range namespaces {
			check(namespace.Close())
		}
		b.StartTimer()
		for _, e := range endpoints {
			check(e.Leave())
		}
		check(n.Down())
	}
}
