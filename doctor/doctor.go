package doctor

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// State is how a check ended.
type State string

// The states. A machine with a Fail does not run steps; with a Warn it runs
// them, but lacks something that some steps ask for.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Result is what a check found.
type Result struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`           // what is there, or what is not
	Remedy string `json:"remedy,omitempty"` // a command where there is one
}

// Machine is what is examined. New returns the one that this process runs on;
// tests replace what they want to be otherwise.
type Machine struct {
	Files    string // prefix of /proc, /sys and /etc
	UID      int
	User     string                            // name of the user, for the remedies
	LookPath func(name string) (string, error) // finds a program
	Root     string                            // state root
	Runtime  string                            // name or path of the OCI runtime

	// Settings reads the settings file. Container runs a container that does
	// nothing, as this user, and says what went wrong.
	Settings  func() error
	Container func(context.Context) error

	Network func(context.Context) error // makes a private network and takes it away, as root; nil: it is not tried
}

// New is the machine that this process runs on, without Settings and Container.
func New(root, runtime string) *Machine {
	name := ""
	if who, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil { // a user without a name is named by number
		name = who.Username
	}
	return &Machine{Files: "/", UID: os.Geteuid(), User: name, LookPath: exec.LookPath, Root: root, Runtime: runtime, Network: tryNetwork}
}

// Examine does all checks, in the order in which one would mend what they find.
func (m *Machine) Examine(ctx context.Context) []Result {
	checks := []struct {
		name string
		look func(context.Context) Result
	}{
		{"kernel", m.kernel},
		{"privileges", m.privileges},
		{"user namespaces", m.userNamespaces},
		{"subordinate ids", m.subordinateIDs},
		{"state root", m.stateRoot},
		{"disk space", m.diskSpace},
		{"leftovers", m.leftovers},
		{"overlay", m.overlay},
		{"many layers", m.manyLayers},
		{"erofs", m.erofs},
		{"cgroups", m.cgroups},
		{"seccomp", m.seccomp},
		{"security modules", m.securityModules},
		{"open files", m.openFiles},
		{"runtime", m.runtime},
		{"private network", m.privateNetwork},
		{"settings", m.settings},
		{"container", m.container},
	}
	var results []Result
	for _, check := range checks {
		result := check.look(ctx)
		result.Name = check.name
		results = append(results, result)
	}
	return results
}

// Works reports whether steps can run: nothing has failed.
func Works(results []Result) bool {
	for _, r := range results {
		if r.State == Fail {
			return false
		}
	}
	return true
}

func (m *Machine) isRoot() bool { return m.UID == 0 }

// read returns a file of /proc, /sys or /etc without white space around it.
func (m *Machine) read(path string) (string, error) {
	data, err := os.ReadFile(filepath.Join(m.Files, path))
	return strings.TrimSpace(string(data)), err
}

// missing lists those of the programs that are not there.
func (m *Machine) missing(programs ...string) []string {
	var not []string
	for _, name := range programs {
		if _, err := m.LookPath(name); err != nil {
			not = append(not, name)
		}
	}
	return not
}

func ok(detail string) Result           { return Result{State: OK, Detail: detail} }
func warn(detail, remedy string) Result { return Result{State: Warn, Detail: detail, Remedy: remedy} }
func fail(detail, remedy string) Result { return Result{State: Fail, Detail: detail, Remedy: remedy} }
