package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/fixtures"
)

var kills = flag.Int("kills", 25, "how many runs TestNothingIsLeftWhateverIsKilled kills")

// Three pipelines: on the host's network, on one of their own, and on one with egress rules.
// %s is the network, then a time that no other process sleeps, and a key of the pipeline.
const killedPipeline = `
%[3]s
services:
  - {name: service, image: 'oci:busybox', network: %[1]s, entrypoint: [sleep, '%[2]d']}
steps:
  - {name: first, image: 'oci:busybox', network: %[1]s, commands: [sleep 0.02]}
  - {name: beside, image: 'oci:busybox', network: %[1]s, depends_on: [], commands: [(sleep %[2]d &), sleep 0.1]}
  - {name: second, image: 'oci:busybox', network: %[1]s, depends_on: [first], commands: [sleep 0.02]}
  - {name: third, image: 'oci:busybox', network: %[1]s, depends_on: [second], commands: [sleep 0.02]}
`

// TestNothingIsLeftWhateverIsKilled kills runs with SIGKILL at random moments:
// the run's process, its guard, or both.
func TestNothingIsLeftWhateverIsKilled(t *testing.T) {
	t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // else a program with the race detector takes a second to end
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := fixtures.Busybox(filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	sleeps := 100000 + os.Getpid()
	whole := map[string]time.Duration{} // how long an undisturbed run takes, so that kills come at all of its moments
	for network, egress := range map[string]string{"host": "", "private": "", "limited": "egress: [198.51.100.1, example.com:443]"} {
		text := fmt.Sprintf(killedPipeline, strings.Replace(network, "limited", "private", 1), sleeps, egress)
		if err := os.WriteFile(filepath.Join(dir, network+".yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if out, err := exec.Command("stepexec", "run", filepath.Join(dir, network+".yml"), "--root", root).CombinedOutput(); err != nil {
			t.Fatalf("undisturbed: %v: %s", err, out)
		}
		whole[network] = time.Since(began)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var slowest time.Duration
	for i := range *kills {
		network := []string{"host", "private", "host", "limited"}[i%4]
		victims := []string{"run", "run", "guard", "both", "both, the guard first"}[i%5]
		k := killing{root: root, sleeps: strconv.Itoa(sleeps), after: time.Duration(random.Int64N(int64(whole[network])))}
		took := k.kill(t, filepath.Join(dir, network+".yml"), victims)
		if t.Failed() {
			t.Fatalf("kill %d: %s after %s, network %s", i, victims, k.after, network)
		}
		slowest = max(slowest, took)
	}
	t.Logf("%d kills; a guard took at most %s", *kills, slowest)
}

// killing is one run that is killed.
type killing struct {
	root   string
	sleeps string // its steps sleep for so many seconds; "": they do not
	after  time.Duration
	runs   []string // IDs of the runs that were there when it was killed
}

// kill returns how long the guard took, when it was up to the guard.
func (k *killing) kill(t *testing.T, pipeline, victims string) time.Duration {
	t.Helper()
	run := exec.Command("stepexec", "run", pipeline, "--root", k.root)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(k.after) // the moment is what is random
	entries, _ := os.ReadDir(filepath.Join(k.root, "runs"))
	for _, entry := range entries {
		k.runs = append(k.runs, entry.Name())
	}
	guard := guardOf(run.Process.Pid)
	switch victims {
	case "run":
		_ = run.Process.Kill()
	case "guard":
		killPID(guard)
	case "both":
		_ = run.Process.Kill()
		killPID(guard)
	default:
		killPID(guard)
		_ = run.Process.Kill()
	}
	_ = run.Wait() // killed, or not in time
	died := time.Now()
	if victims != "run" || guard == 0 {
		if out, err := exec.Command("stepexec", "gc", "--root", k.root).CombinedOutput(); err != nil {
			t.Errorf("gc: %v: %s", err, out)
		}
	}
	for {
		left := k.left(t)
		if left == "" {
			return time.Since(died)
		}
		if time.Since(died) > time.Minute || t.Failed() {
			t.Errorf("left behind: %s", left)
			return 0
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// left tells one thing that is left of runs, or "".
func (k *killing) left(t testing.TB) string {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Join(k.root, "runs")))
	if err != nil {
		t.Error(err)
	}
	if len(mounts) > 0 {
		return "mount " + mounts[0].Mountpoint
	}
	if entries, _ := os.ReadDir(filepath.Join(k.root, "runs")); len(entries) > 0 {
		return "run " + entries[0].Name()
	}
	for _, word := range []string{k.sleeps, filepath.Join(k.root, "runs")} {
		if word == "" {
			continue
		}
		if out, err := exec.Command("pgrep", "-fa", word).Output(); err == nil {
			return "process " + string(out)
		}
	}
	if len(k.runs) == 0 {
		return ""
	}
	rules, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Error(err)
	}
	for _, run := range k.runs {
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/stepexec-" + run + "-*")
		unified, _ := filepath.Glob("/sys/fs/cgroup/stepexec-" + run + "-*")
		if groups = append(groups, unified...); len(groups) > 0 {
			return "cgroup " + groups[0]
		}
		if _, err := os.Stat("/sys/class/net/step-" + run); err == nil {
			return "link of " + run
		}
		if strings.Contains(string(rules), run) {
			return "nftables rules of " + run
		}
	}
	return ""
}

// guardOf finds the guard among a run's children, 0 when there is none (yet).
func guardOf(pid int) int {
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0
	}
	for _, file := range children {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if words := strings.Split(string(line), "\x00"); len(words) > 1 && words[1] == "guard" {
				guard, _ := strconv.Atoi(field)
				return guard
			}
		}
	}
	return 0
}

func killPID(pid int) {
	if pid > 0 {
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
	}
}
