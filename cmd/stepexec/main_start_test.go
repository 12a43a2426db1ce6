package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// initialised is a package whose initialisation the Go runtime has told of, and what that took.
type initialised struct {
	path   string
	bytes  int
	allocs int
}

// initialisations lists the packages of this program that have something to initialise, in their order.
func initialisations(t *testing.T) []initialised {
	t.Helper()
	cmd := exec.Command("stepexec", "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var all []initialised
	for line := range strings.Lines(stderr.String()) { // init PATH @0.1 ms, 0.001 ms clock, 16 bytes, 1 allocs
		f := strings.Fields(line)
		if len(f) != 11 || f[0] != "init" {
			continue
		}
		size, err := strconv.Atoi(f[7])
		if err != nil {
			t.Fatal(line)
		}
		allocs, err := strconv.Atoi(f[9])
		if err != nil {
			t.Fatal(line)
		}
		all = append(all, initialised{f[1], size, allocs})
	}
	if len(all) < 50 {
		t.Fatalf("%d packages only: %s", len(all), stderr.String())
	}
	return all
}

// Whatever a package makes before main, every start of the program pays for, also that of a command which has no
// use for it.
func TestPackagesInitialiseLittle(t *testing.T) {
	for _, p := range initialisations(t) {
		if !strings.HasPrefix(p.path, module) || p.path == module+"cmd/stepexec" { // the latter with what its tests make
			continue
		}
		size := 16 << 10
		if p.path == module+"runner/woodpecker/wire" { // generated
			size = 32 << 10
		}
		if p.allocs > 100 || p.bytes > size {
			t.Errorf("%s makes %d objects of %d bytes before main: is that not better made when it is used?", p.path, p.allocs, p.bytes)
		}
	}
}

func TestGuardsWaitBeforeTheProgramIsInitialised(t *testing.T) {
	var before []string
	for _, p := range initialisations(t) {
		if p.path == module+"sandbox/guardwait" {
			break
		}
		before = append(before, p.path)
	}
	if len(before) > 60 {
		t.Errorf("%d packages are initialised before a guard waits: %q", len(before), before)
	}
	for _, late := range []string{"regexp", "encoding/json", "net/http", "google.golang.org/grpc", module + "sandbox", "main"} {
		if slices.Contains(before, late) {
			t.Errorf("%s is initialised before a guard waits", late)
		}
	}
}
