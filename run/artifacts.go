package run

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/record"
)

// withArtifacts gives a run a folder for what its steps leave: that of the options, or one in
// the run's record. An artifact that is there already is an error before anything runs: it would
// be taken for this run's.
func withArtifacts(m Machine, p *Planned, o engine.Options) (_ engine.Options, closeFolder func() error, err error) {
	closeFolder = func() error { return nil }
	if !leavesArtifacts(p.Plan) {
		return o, closeFolder, nil
	}
	if o.Artifacts == nil {
		dir := filepath.Join(record.Folder(m.Sandbox.Root, o.Host.ID()), record.ArtifactsDir)
		folder, err := artifact.Open(dir, 0o700, m.Settings.History.OrDefault().Artifacts)
		if err != nil {
			return o, closeFolder, fmt.Errorf("make the folder for artifacts: %w", err)
		}
		o.Artifacts = folder
		return o, folder.Close, nil
	}
	for i := range p.Plan.Steps {
		for _, a := range p.Plan.Steps[i].Artifacts {
			if taken, err := o.Artifacts.Has(a.Name); err != nil || taken {
				if err == nil {
					err = fmt.Errorf("%s is already there (remove it, or name another folder)", filepath.Join(o.Artifacts.Path(), a.Name))
				}
				return o, closeFolder, fmt.Errorf("--artifacts: %w", err)
			}
		}
	}
	return o, closeFolder, nil
}

// cellFolder is the name of the folder with the artifacts of one of several runs.
func cellFolder(cell string) string {
	return strings.TrimLeft(strings.ReplaceAll(cell, "/", "_"), ".")
}
