package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stepexec/stepexec/rootless"
)

// owner is the runner that a job belongs to, as other runners of the machine can see it: an
// ephemeral one has a new folder, and so another key, for each job, and its successor has to end
// what it has left.
type owner struct {
	Temp    string `json:"temp"`              // RUNNER_TEMP; "": unknown
	Worker  int    `json:"worker,omitempty"`  // ID of the runner's process for this job alone; 0: unknown
	Started string `json:"started,omitempty"` // start of that process, in clock ticks since the machine's
	Place   string `json:"place,omitempty"`   // where the others mean something: see place; "": unknown
}

// place names the start of the machine and the namespaces of this process. Runners in containers may
// share a state root: whoever is elsewhere sees neither their processes nor their folders.
func place() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	processes, _ := os.Readlink("/proc/self/ns/pid")
	mounts, _ := os.Readlink("/proc/self/ns/mnt")
	return fmt.Sprintf("%s %s %s", bytes.TrimSpace(boot), processes, mounts)
}

const (
	ownerName  = "owner" // in the job's folder
	workerName = "Runner.Worker"
)

// findOwner finds the runner that has called this hook.
func findOwner(temp string) owner {
	o := owner{Temp: temp, Place: place()}
	for pid := os.Getppid(); pid > 1; {
		p, err := readProcess(pid)
		if err != nil {
			return o
		}
		if p.name == workerName {
			o.Worker, o.Started = pid, p.started
			return o
		}
		pid = p.parent
	}
	return o
}

// isElsewhere reports whether this process can see nothing of the runner.
func (o owner) isElsewhere() bool { return o.Place != "" && o.Place != place() }

// isGone reports whether the runner has ended: its process has, or its folder is not there.
func (o owner) isGone() bool {
	if o.Worker > 0 {
		p, err := readProcess(o.Worker)
		if errors.Is(err, os.ErrNotExist) || err == nil && p.started != o.Started {
			return true
		}
	}
	if o.Temp == "" {
		return false
	}
	_, err := os.Stat(o.Temp)
	return errors.Is(err, os.ErrNotExist)
}

// inNamespace is what a keeper can see of the runner: without root it has processes of its own.
func (o owner) inNamespace() owner {
	if _, ok := rootless.Inside(); ok {
		o.Worker = 0
	}
	return o
}

func (o owner) write(folder string) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, ownerName), data, 0o600)
}

// readOwner reads the owner of a job; one that is not known is not gone.
func readOwner(folder string) (o owner) {
	if data, err := os.ReadFile(filepath.Join(folder, ownerName)); err == nil {
		_ = json.Unmarshal(data, &o) // it is being written
	}
	return o
}

// process is what /proc/PID/stat says of a process (proc(5)).
type process struct {
	name    string
	parent  int
	started string
}

func readProcess(pid int) (p process, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	begin, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')') // a name may have parentheses
	if begin < 0 || end < begin {
		return p, fmt.Errorf("/proc/%d/stat has no name", pid)
	}
	fields := bytes.Fields(data[end+1:]) // from the third field on
	if len(fields) < 20 {
		return p, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	p.name, p.started = string(data[begin+1:end]), string(fields[19])
	p.parent, err = strconv.Atoi(string(fields[1]))
	return p, err
}
