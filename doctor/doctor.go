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

// State is the outcome of a check.
type State string

// The states. A machine with a Fail cannot run steps. A machine with a Warn can, but lacks
// something that some steps need.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Result is the finding of a check.
type Result struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`           // what was found or is missing
	Remedy string `json:"remedy,omitempty"` // advice, with a command if there is one
}

// Machine is the machine to examine. New returns the machine that this process runs on; tests
// replace fields.
type Machine struct {
	Files    string // prefix of /proc, /sys and /etc
	UID      int
	User     string                            // name of the user, for the remedies
	LookPath func(name string) (string, error) // finds a program, like exec.LookPath
	Root     string                            // state root
	Runtime  string                            // name or path of the OCI runtime

	// Settings reads the settings file. Container runs a container that does nothing, as this user,
	// and returns the error if it fails.
	Settings  func() error
	Container func(context.Context) error

	Network func(context.Context) error // creates and removes a private network, as root; nil: not tried
}

// New returns the machine that this process runs on, without Settings and Container.
func New(root, runtime string) *Machine {
	name := ""
	if who, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil { // a user without a name is shown by number
		name = who.Username
	}
	return &Machine{Files: "/", UID: os.Geteuid(), User: name, LookPath: exec.LookPath, Root: root, Runtime: runtime, Network: tryNetwork}
}

// Examine runs all checks, in the order in which their findings should be fixed.
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
		{"other platforms", m.otherPlatforms},
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

// Works reports whether steps can run, which means that no check failed.
func Works(results []Result) bool {
	for _, r := range results {
		if r.State == Fail {
			return false
		}
	}
	return true
}

func (m *Machine) isRoot() bool { return m.UID == 0 }

// read returns the content of a file of /proc, /sys or /etc without surrounding white space.
func (m *Machine) read(path string) (string, error) {
	data, err := os.ReadFile(filepath.Join(m.Files, path))
	return strings.TrimSpace(string(data)), err
}

// missing returns the programs that are not installed.
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
