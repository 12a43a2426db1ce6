package fleet_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The size of the fleet, which bench/fleet.sh sets. The defaults are for a test that a busy machine
// passes.
const (
	envAgents    = "STEPEXEC_FLEET_AGENTS"
	envPipelines = "STEPEXEC_FLEET_PIPELINES"
)

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: must be a number from 1", name, text)
	}
	return n
}

// A third of the runners are killed while they work, and started again. Each pipeline has exactly
// one end on the server then: the one that it came to, or an error that its runner was killed.
func TestFleetLosesNothing(t *testing.T) {
	agents, capacity, pipelines := number(t, envAgents, 3), number(t, envCapacity, 2), number(t, envPipelines, 24)
	for kind, start := range map[string]func(*testing.T) server{"woodpecker": newWoodpecker, "drone": newDrone} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			f := &fleet{t: t, kind: kind, server: s, capacity: capacity, folder: t.TempDir(), members: make([]*exec.Cmd, agents)}
			t.Cleanup(f.end)
			for i := range agents {
				f.start(i)
			}
			s.wait("all runners to poll", func() bool { return s.polls() >= agents })
			idle := f.memory()
			before, began := s.calls(), time.Now()
			for range pipelines {
				s.push()
			}
			s.wait("a third of the pipelines", func() bool { return s.ended() >= pipelines/3 })
			lost := f.killAThird()
			for n := 0; n < pipelines; {
				s.wait(fmt.Sprintf("more than %d of %d pipelines", n, pipelines), func() bool { return s.ended() > n })
				s.wait("the number of ended pipelines", func() bool { n = s.ended(); return true })
			}
			took := time.Since(began)
			good, killed := s.results(t)
			if good+killed != pipelines {
				t.Errorf("%d good ends and %d killed ones of %d pipelines", good, killed, pipelines)
			}
			t.Logf("%d runners of %d: %d pipelines of 3 steps in %v, %.0f a minute", agents, capacity, pipelines, took.Round(time.Millisecond), float64(pipelines)/took.Minutes())
			t.Logf("killed %d runners: %d pipelines ended with them, %d had been given out and not begun, and were given out again", (agents+2)/3, killed, lost)
			t.Logf("memory of an idle runner (PSS): %d KiB", idle)
			after := s.calls()
			for _, name := range slices.Sorted(maps.Keys(after)) {
				t.Logf("calls of a pipeline: %5.1f %s", float64(after[name]-before[name])/float64(pipelines), name)
			}
		})
	}
}

// server is a server as the fleet sees it. The conditions of wait are called with its lock held.
type server interface {
	address() string
	push()
	wait(what string, holds func() bool)
	polls() int            // that were made, for conditions
	ended() int            // number of pipelines, for conditions
	calls() map[string]int // by method
	// giveOutAgain gives out again what a dead runner, which has that folder, got and has not kept.
	giveOutAgain(name, folder string, kept func(id string) bool) int
	results(t *testing.T) (good, killed int)
}

// fleet is the runners at a server.
type fleet struct {
	t        *testing.T
	kind     string
	server   server
	capacity int
	folder   string
	members  []*exec.Cmd
}

func name(i int) string { return fmt.Sprintf("fleet-%03d", i) }

func (f *fleet) folderOf(i int) string { return filepath.Join(f.folder, name(i)) }

func (f *fleet) start(i int) {
	f.t.Helper()
	if err := os.MkdirAll(f.folderOf(i), 0o700); err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envKind+"="+f.kind, envServer+"="+f.server.address(), envName+"="+name(i), envFolder+"="+f.folderOf(i), envCapacity+"="+strconv.Itoa(f.capacity))
	log, err := os.OpenFile(filepath.Join(f.folderOf(i), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.members[i] = cmd
}

func (f *fleet) kill(i int) {
	if cmd := f.members[i]; cmd != nil {
		_ = cmd.Process.Kill() // it may have ended, which the test notices elsewhere
		_ = cmd.Wait()         // it was killed
		f.members[i] = nil
	}
}

func (f *fleet) end() {
	for i := range f.members {
		f.kill(i)
		if log, err := os.ReadFile(filepath.Join(f.folderOf(i), "log")); f.t.Failed() && err == nil {
			f.t.Logf("%s:\n%s", name(i), log)
		}
	}
}

// killAThird kills a third of the runners at random, and starts them again. A pipeline that a
// runner got and died before it could write that down is given out again, which today's servers
// leave to people: it returns how many these are.
func (f *fleet) killAThird() (lost int) {
	chosen := rand.Perm(len(f.members))[:(len(f.members)+2)/3]
	for _, i := range chosen {
		f.kill(i)
	}
	for _, i := range chosen {
		lost += f.server.giveOutAgain(name(i), f.folderOf(i), func(id string) bool { return f.keeps(i, id) })
		f.start(i)
	}
	return lost
}

// keeps reports whether a runner has a workflow on disk.
func (f *fleet) keeps(i int, id string) bool {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.folderOf(i), "runner", "*", "*.jsonl"))
	if err != nil {
		f.t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		return err == nil && bytes.Contains(data, []byte(`{"progress":{"id":"`+id+`",`))
	})
}

// memory is the mean PSS of the runners in KiB.
func (f *fleet) memory() int {
	f.t.Helper()
	sum := 0
	for _, cmd := range f.members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", cmd.Process.Pid))
		if err != nil {
			f.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
				sum += kib
			}
		}
	}
	return sum / len(f.members)
}
