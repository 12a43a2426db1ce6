package engine

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// ownWorkspace returns the plan with a workspace of its own, in place of the one that it shares
// with the other cells of its matrix. When two cells build in the same folder at once, each
// could test what the other has built.
func ownWorkspace(ctx context.Context, plan *pipeline.Plan, host *sandbox.Host) (*pipeline.Plan, func() error, error) {
	shared := plan.WorkspaceSource
	if !plan.OwnWorkspace || shared == "" {
		return plan, func() error { return nil }, nil
	}
	own, release, err := host.OwnWorkspace(ctx, shared)
	if err != nil {
		return nil, nil, err
	}
	changed := *plan
	changed.WorkspaceSource = own
	changed.Services, changed.Steps = slices.Clone(plan.Services), slices.Clone(plan.Steps)
	for _, steps := range [][]pipeline.PlannedStep{changed.Services, changed.Steps} {
		for i := range steps {
			steps[i].Mounts = slices.Clone(steps[i].Mounts)
			for j, m := range steps[i].Mounts {
				if m.Type == "bind" {
					steps[i].Mounts[j].Source = moved(m.Source, shared, own)
				}
			}
		}
	}
	return &changed, release, nil
}

// moved returns a path in the folder from as the same path in the folder to.
func moved(path, from, to string) string {
	if below, ok := strings.CutPrefix(path, from); ok && (below == "" || below[0] == '/') {
		return filepath.Join(to, below)
	}
	return path
}
