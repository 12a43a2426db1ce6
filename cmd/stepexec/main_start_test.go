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

// heavy are the libraries that make much before main. Each costs every start of the program 10 to 100 µs: one
// that is missing here has come into the program by a new import. Is it worth that?
var heavy = []string{
	"encoding/xml", "html/template", "unicode",
	"github.com/expr-lang/expr/builtin",
	"github.com/google/go-containerregistry/pkg/name",
	"github.com/klauspost/compress/flate",
	"github.com/miekg/dns",
	"github.com/opencontainers/go-digest", // 0.1 ms, the most of all, for hash functions and a pattern
	"go.yaml.in/yaml/v3",
	"tags.cncf.io/container-device-interface/internal/validation/k8s",
}

// Whatever a package makes before main, every start of the program pays for, also that of a command which has no
// use for it.
func TestPackagesInitialiseLittle(t *testing.T) {
	list, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	imported := strings.Fields(string(list)) // without what only the tests import
	unseen := slices.Clone(heavy)
	for _, p := range initialisations(t) {
		if slices.Contains(heavy, p.path) && p.bytes > 8<<10 {
			unseen = slices.DeleteFunc(unseen, func(path string) bool { return path == p.path })
			continue
		}
		objects, size := 100, 5<<10 // less than a pattern of some length takes
		switch {
		case !slices.Contains(imported, strings.ReplaceAll(p.path, "%2e", ".")) || p.path == module+"cmd/stepexec": // the latter with what its tests make
			continue
		case p.path == module+"runner/woodpecker/wire": // generated
			size = 32 << 10
		case !strings.HasPrefix(p.path, module):
			objects, size = 150, 10<<10
		}
		if p.allocs > objects || p.bytes > size {
			t.Errorf("%s makes %d objects of %d bytes before main: is that not better made when it is used?", p.path, p.allocs, p.bytes)
		}
	}
	if len(unseen) > 0 {
		t.Errorf("listed as heavy, but not so, or not there, any more: %q", unseen)
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
	for _, late := range []string{"regexp", "encoding/json", "net/http", "google.golang.org/protobuf/proto", module + "sandbox", "main"} {
		if slices.Contains(before, late) {
			t.Errorf("%s is initialised before a guard waits", late)
		}
	}
}
