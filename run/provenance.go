package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/artifact"
	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/provenance"
	"github.com/stepexec/stepexec/record"
)

// Provenance asks for a statement of how the artifacts of each run were made.
type Provenance struct {
	Builder provenance.Builder
	Policy  string // name of the policy that admits the pipeline
	Key     string // path of the key that signs, if the file tells it by itself; "" otherwise

	// Attest gets the statement of a run that was green and left artifacts. What it returns is kept
	// in the record of the run. An error makes the run fail.
	Attest func(*provenance.Statement) ([]byte, error)
}

// note keeps the digest of a file that the pipelines were read from.
func (s *Source) note(name string, data []byte) {
	sum := sha256.Sum256(data)
	s.sums[name] = hex.EncodeToString(sum[:])
}

// digests returns the SHA-256 of the files that the pipelines were read from. Those of other CI
// systems are read once more, before any step runs.
func (s *Source) digests() (map[string]string, error) {
	if s.Format == "" {
		return s.sums, nil
	}
	return s.sums, filepath.WalkDir(s.File, func(path string, d fs.DirEntry, err error) error {
		ending := filepath.Ext(path)
		if err != nil || d.IsDir() || path != s.File && ending != ".yml" && ending != ".yaml" {
			return err
		}
		data, err := pipeline.ReadFile(path)
		if err == nil {
			s.note(path, data)
		}
		return err
	})
}

// noteCheckouts notes of each job which commit its workspace has, and whether files were changed,
// before a step of any can change them.
func (r *Request) noteCheckouts(ctx context.Context, jobs []*Job) {
	if r.Provenance == nil {
		return
	}
	known := map[string]checkout{}
	for _, j := range jobs {
		dir := j.in.Workspace
		if dir == "" {
			continue // the steps have no checkout
		}
		if _, seen := known[dir]; !seen {
			known[dir] = gitCheckout{dir}.checkout(ctx)
		}
		j.checkout = known[dir]
	}
}

// checkProvenance returns an error for jobs that leave nothing which could have a provenance.
func (r *Request) checkProvenance(jobs []*Job) error {
	switch {
	case r.Provenance == nil:
		return nil
	case !slices.ContainsFunc(jobs, func(j *Job) bool { return j.leaves }):
		return errors.New("--provenance: no step leaves artifacts, whose provenance it would be (give one artifacts:)")
	case slices.ContainsFunc(jobs, func(j *Job) bool { return isInside(r.Provenance.Key, j.in.Workspace) }):
		return fmt.Errorf("--sign-key %s: it is in the clear in the workspace, where every step can read it (keep it elsewhere, or encrypt it: cosign import-key-pair)", r.Provenance.Key)
	}
	return nil
}

// isInside reports whether a file, if there is one, is in a folder, or a link leads there.
func isInside(file, folder string) bool {
	if file == "" || folder == "" {
		return false
	}
	var paths [2]string
	for i, path := range []string{folder, file} {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			paths[i], err = filepath.Abs(real)
		}
		if err != nil {
			return false // the one is read, and the other made, before this
		}
	}
	rel, err := filepath.Rel(paths[0], paths[1])
	return err == nil && filepath.IsLocal(rel)
}

// leavesArtifacts reports whether a step of the plan has artifacts.
func leavesArtifacts(plan *pipeline.Plan) bool {
	return slices.ContainsFunc(plan.Steps, func(s pipeline.PlannedStep) bool { return len(s.Artifacts) > 0 })
}

// attestation is the work on the provenance of a run.
type attestation struct {
	request  *Request
	planned  *Planned
	job      *Job
	folder   *artifact.Folder // that takes the artifacts
	started  time.Time
	finished *event.Summary // nil: the run did not come to its end
}

// attested has the provenance of a run, if it is asked for, told of what is in the artifacts and of
// the run's events.
func (p *Planned) attested(o engine.Options) engine.Options {
	a := p.attestation
	if a == nil || o.Artifacts == nil {
		return o
	}
	a.folder = o.Artifacts
	a.folder.Sum()
	return telling(o, a.event)
}

// event notes what the statement says of a run.
func (a *attestation) event(e *event.Event) {
	switch e.Kind {
	case event.RunStarted:
		a.started = e.Time
	case event.RunFinished:
		a.finished = e.Summary
	}
}

// end makes the statement of a run that was green, if it left artifacts, and has it kept in the
// record below a state root.
func (a *attestation) end(root string) error {
	if a.finished == nil || a.finished.ExitCode != 0 || a.folder == nil || len(a.folder.Sums()) == 0 {
		return nil
	}
	text, err := a.request.Provenance.Attest(a.statement())
	if err != nil {
		return err
	}
	file := filepath.Join(record.Folder(root, a.finished.Run), record.ProvenanceFile)
	err = os.WriteFile(file, text, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // there is no record; that was said
		return nil
	}
	return err
}

func (a *attestation) statement() *provenance.Statement {
	asked, mask := a.request.Provenance, a.planned.Admitted.Mask()
	s := &provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	sums := a.folder.Sums()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s.Subject = append(s.Subject, provenance.Descriptor{Name: mask.String(name), Digest: map[string]string{"sha256": sums[name]}})
	}
	s.Predicate.Definition = provenance.Definition{
		BuildType: provenance.BuildType,
		External:  a.parameters(mask.String),
		Internal:  provenance.Internal{Policy: asked.Policy, Locked: a.request.Locked, Platform: a.request.Platform},

		Dependencies: slices.Concat(a.pipelineFiles(mask.String), a.source(), a.images()),
	}
	s.Predicate.Details = provenance.Details{
		Builder:    asked.Builder,
		Metadata:   provenance.Metadata{Invocation: a.finished.Run, Started: a.started.UTC(), Finished: time.Now().UTC()},
		Byproducts: a.byproducts(),
	}
	return s
}

func (a *attestation) parameters(mask func(string) string) provenance.Parameters {
	plan := a.planned.Plan
	p := provenance.Parameters{
		File: mask(plan.File), Pipeline: mask(plan.Name), Cell: mask(plan.Cell),
		Only: masked(a.request.Only, mask), Skip: masked(a.request.Skip, mask),
	}
	for _, entry := range slices.Concat(a.request.Defaults, a.request.Environment) {
		name, _, _ := strings.Cut(entry, "=")
		p.Environment = append(p.Environment, mask(name))
	}
	if b := a.planned.Build.Shown(mask); b != (event.Build{}) {
		p.Source = &provenance.Source{Repository: b.Repo, Event: b.Event, Ref: b.Ref, Commit: b.Commit}
	}
	return p
}

func masked(texts []string, mask func(string) string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, mask(text))
	}
	return all
}

func (a *attestation) pipelineFiles(mask func(string) string) []provenance.Descriptor {
	var all []provenance.Descriptor
	for _, file := range slices.Sorted(maps.Keys(a.job.files)) {
		all = append(all, provenance.Descriptor{Name: mask(file), Digest: map[string]string{"sha256": a.job.files[file]}})
	}
	return all
}

// source is the commit that was built, where one is known.
func (a *attestation) source() []provenance.Descriptor {
	commit := a.planned.Build.Commit
	if is, _ := regexp.MatchString(`^([0-9a-f]{40}|[0-9a-f]{64})$`, commit); !is {
		return nil
	}
	source := provenance.Descriptor{Name: "source", Digest: map[string]string{"gitCommit": commit}}
	switch {
	case a.job.checkout.commit != "" && a.job.checkout.commit != commit:
		source.Annotations = map[string]string{provenance.WorkTree: treeOther}
	case a.job.checkout.tree != "":
		source.Annotations = map[string]string{provenance.WorkTree: a.job.checkout.tree}
	}
	return []provenance.Descriptor{source}
}

// images are those of the steps and services, each once.
func (a *attestation) images() []provenance.Descriptor {
	var all []provenance.Descriptor
	seen := map[string]bool{}
	for i := range a.finished.Steps {
		step := &a.finished.Steps[i]
		algorithm, digest, found := strings.Cut(step.Digest, ":")
		if found && !seen[step.Image+" "+step.Digest] {
			seen[step.Image+" "+step.Digest] = true
			all = append(all, provenance.Descriptor{Name: step.Image, Digest: map[string]string{algorithm: digest}})
		}
	}
	return all
}

// ended is how a step ended, as a statement tells it.
type ended struct {
	Step     string       `json:"step"`
	Service  bool         `json:"service,omitempty"`
	Image    string       `json:"image,omitempty"`
	Digest   string       `json:"digest,omitempty"`
	Status   event.Status `json:"status"`
	ExitCode int          `json:"exit_code"`
	Ignored  bool         `json:"ignored,omitempty"`
	Attempts int          `json:"attempts,omitempty"` // 0: one

	Egress []event.Connection `json:"egress,omitempty"`
}

// byproducts say how each step ended and, of steps with egress rules, what they reached.
func (a *attestation) byproducts() []provenance.Descriptor {
	var steps []ended
	for i := range a.finished.Steps {
		r := &a.finished.Steps[i]
		steps = append(steps, ended{r.Step, r.Service, r.Image, r.Digest, r.Status, r.ExitCode, r.Ignored, len(r.Attempts), r.Egress})
	}
	content, err := json.Marshal(steps)
	if err != nil {
		panic(fmt.Sprintf("results of steps as JSON: %v", err)) // they are JSON in every event
	}
	return []provenance.Descriptor{{Name: "steps.json", MediaType: "application/json", Content: content}}
}
