package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSpec bounds the file of a raw OCI specification; real ones have 20 KiB.
const maxSpec = 4 << 20

// hostFiles resolves what a step names on the host: relative paths start from the
// folder of the file.
func (pl *planner) hostFiles(step *PlannedStep, s *Step) {
	if s.Stdin != StdinInherited {
		step.Stdin = pl.hostPath(s.Stdin)
	}
	if s.Output != OutputNone {
		step.Output = pl.hostPath(s.Output)
	}
	if !isProfileName(s.Security.Seccomp) {
		step.Security.Seccomp = pl.hostPath(s.Security.Seccomp)
	}
	step.Advanced.PidFile = pl.hostPath(s.Advanced.PidFile)
	if s.SpecFile != "" {
		step.Advanced.Spec = pl.spec(s)
	}
	step.Owner = pl.owner(s)
}

// opener opens files that are named at a position: by Inputs.Open what the pipeline file
// names, and without asking what a flag names, which is the caller's own.
func (pl *planner) opener(at Position) func(string) (*os.File, error) {
	if pl.in.Open == nil || strings.HasPrefix(at.Key, "--") {
		return os.Open
	}
	return pl.in.Open
}

func (pl *planner) hostPath(file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(pl.in.Dir, file)
}

func isProfileName(seccomp string) bool {
	return seccomp == "" || seccomp == "default" || seccomp == "unconfined"
}

// spec reads the raw specification of a step, which must be a JSON object.
func (pl *planner) spec(s *Step) []byte {
	data, err := readBounded(pl.hostPath(s.SpecFile), pl.opener(s.specFileAt), maxSpec)
	if err != nil {
		pl.fail(s.specFileAt, fmt.Sprintf("read OCI specification: %v", err), "", err)
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		pl.fail(s.specFileAt, fmt.Sprintf("%s is not an OCI specification: %v", s.SpecFile, err), "`runc spec` writes one", err)
		return nil
	}
	return data
}

func (pl *planner) owner(s *Step) *Owner {
	switch {
	case pl.in.Workspace == "":
		return nil
	case s.Owner == nil || !s.Owner.Workspace:
		return s.Owner
	}
	info, err := os.Stat(pl.in.Workspace)
	if err != nil {
		pl.fail(s.Position, fmt.Sprintf("find the owner of the workspace: %v", err), "", err)
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return &Owner{UID: stat.Uid, GID: stat.Gid}
}
