package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrHidden says that the sandboxes of a run cannot be seen from here.
var ErrHidden = errors.New("its containers cannot be seen from here: they are in namespaces of the run's own, as without root, and only the run itself can join them")

// joinFile is in the folder of a sandbox from its start on.
const joinFile = "join.json"

// Joinable is a running sandbox of another stepexec process, in which more programs can be
// executed.
type Joinable struct {
	Name     string            // of the step or service
	Withheld map[string]string // as in Kept: secret variables that the process below lacks
	Shell    string            // that runs the step's script; "": it has none

	Container string
	Image     string
	Runtime   string // path of the runtime
	Systemd   bool   // whether systemd creates the cgroups
	Process   *specs.Process

	bundle string
}

// Offer lets other processes join the sandbox until it is removed. The secret variables in withheld
// are left out of the file: although it is in memory, less is better.
func (s *Sandbox) Offer(name string, withheld map[string]string) error {
	process := *s.process
	process.Args = nil // they may contain secrets
	process.Env = nil
	for _, entry := range s.process.Env {
		variable, _, _ := strings.Cut(entry, "=")
		if _, secret := withheld[variable]; !secret {
			process.Env = append(process.Env, entry)
		}
	}
	j := Joinable{Name: name, Withheld: withheld, Container: s.id, Image: s.step.Image, Runtime: s.runtime.Command, Systemd: s.runtime.SystemdCgroup, Process: &process}
	if s.step.Script != nil && len(s.step.Shell) > 0 {
		j.Shell = s.step.Shell[0]
	}
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	path := filepath.Join(s.bundle, joinFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// withdraw ends the offer, once the command has ended.
func (s *Sandbox) withdraw() error {
	err := os.Remove(filepath.Join(s.bundle, joinFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there was no offer
	}
	return err
}

// Joinable finds the sandbox of a step or service that has been started. It returns fs.ErrNotExist
// when there is none at this moment, or ErrHidden.
func (l Live) Joinable(name string) (*Joinable, error) {
	all, err := l.joinables()
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		if j.Name == name {
			return j, nil
		}
	}
	return nil, fmt.Errorf("no container of %s runs: %w", name, fs.ErrNotExist)
}

// Joinables returns the names of the steps and services that run at this moment, sorted. The error may be
// ErrHidden.
func (l Live) Joinables() ([]string, error) {
	all, err := l.joinables()
	var names []string
	for _, j := range all {
		names = append(names, j.Name)
	}
	slices.Sort(names)
	return names, err
}

func (l Live) joinables() ([]*Joinable, error) {
	private := filepath.Join(l.dir, "private")
	var around, within unix.Stat_t
	if err := errors.Join(unix.Stat(l.dir, &around), unix.Stat(private, &within)); err != nil {
		return nil, err
	}
	if around.Dev == within.Dev {
		return nil, ErrHidden // nothing is mounted there for this process
	}
	files, err := filepath.Glob(filepath.Join(private, "*", joinFile))
	if err != nil {
		return nil, err
	}
	var all []*Joinable
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just ended
		}
		if err != nil {
			return nil, err
		}
		j := &Joinable{bundle: filepath.Dir(file)}
		if err := json.Unmarshal(data, j); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all = append(all, j)
	}
	return all, nil
}

// Exec is like Sandbox.Exec. The program ends with the sandbox.
func (j *Joinable) Exec(ctx context.Context, o ExecOptions) (Exit, error) {
	// As in Open: the program becomes a child of this process.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return Exit{}, fmt.Errorf("become the reaper of the program: %w", err)
	}
	s := &Sandbox{
		step: &Step{Image: j.Image}, id: j.Container, bundle: j.bundle, process: j.Process,
		runtime: &runc.Runc{Command: j.Runtime, Root: runtimeRoot(filepath.Dir(filepath.Dir(j.bundle))), LogFormat: runc.JSON, SystemdCgroup: j.Systemd},
	}
	return s.Exec(ctx, o)
}
