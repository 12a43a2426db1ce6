package run

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/pipeline"
)

// Source is a pipeline file that has been read, or a folder of them.
type Source struct {
	File   string // as it was named, or found
	Format string // drone or woodpecker; "": native
	Dir    string // folder where relative paths and the workspace start
	Set    *pipeline.Set

	sums  map[string]string // SHA-256 of what was read of the files of a native pipeline, by their names
	build *pipeline.Build   // nil for a native file: its facts are looked up only if it has conditions
}

// Load reads the request's pipeline file. A format of another CI system can depend on facts
// of the build, which are looked up here.
func (r *Request) Load(ctx context.Context) (*Source, error) {
	file, err := FindFile(r.File)
	if err != nil {
		return nil, err
	}
	f, err := formatOf(file)
	if err != nil {
		return nil, err
	}
	s := &Source{File: file, Dir: filepath.Dir(file), sums: map[string]string{}}
	if f == nil {
		p, err := parseFile(file, s.note)
		s.Set = &pipeline.Set{Workflows: []pipeline.Workflow{{Pipeline: p}}}
		return s, err
	}
	s.Dir, s.Format = f.root(file), f.name
	in := formatInputs{raw: r.Raw, docker: r.AsDocker, plugins: r.PrivilegedPlugins, network: cmp.Or(r.Network, foreignNetwork)}
	if in.environ, err = r.variables(); err != nil {
		return nil, err
	}
	if err := r.Facts.checkEvent(func(event string) bool { return fileNamesEvent(file, event) }); err != nil {
		return nil, err
	}
	if in.build, err = r.Facts.build(ctx, s.Dir, r.Platform, f.event); err != nil {
		return nil, err
	}
	s.build = &in.build
	s.Set, err = f.load(file, in)
	return s, err
}

// maxIncludedFile bounds the size of an included file in bytes.
const maxIncludedFile = 1 << 20

// ParseFile reads a native pipeline file, and those that it includes beneath its folder.
func ParseFile(file string) (*pipeline.Pipeline, error) {
	return parseFile(file, func(string, []byte) {})
}

// parseFile is ParseFile that has every file noted which it reads.
func parseFile(file string, note func(name string, data []byte)) (*pipeline.Pipeline, error) {
	data, err := pipeline.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	note(file, data)
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	return pipeline.ParseIncluding(file, data, func(name string) ([]byte, error) {
		data, err := beneath.At(filepath.Join(dir, name), dir).ReadFile(maxIncludedFile)
		if err == nil {
			note(filepath.Join(filepath.Dir(file), name), data)
		}
		return data, err
	})
}

// variables returns the variables of the request's files and then its own, of which the later ones win.
func (r *Request) variables() ([]string, error) {
	all := slices.Clone(r.Defaults)
	for _, file := range r.EnvFiles {
		entries, err := pipeline.ReadEnvFile(file, r.given)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		all = append(all, entries...)
	}
	return append(all, r.Environment...), nil
}

// given finds a variable of the request itself.
func (r *Request) given(name string) (value string, found bool) {
	for _, entry := range slices.Backward(r.Environment) {
		if value, found = strings.CutPrefix(entry, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// Choose returns the pipelines of the set that are to run: those of the given names, or
// those that their conditions do not keep out, in which case say gets a line for each other.
func (s *Source) Choose(names []string, say func(line string)) ([]pipeline.Workflow, error) {
	all := s.Set.Workflows
	for _, name := range names {
		if !slices.ContainsFunc(all, func(w pipeline.Workflow) bool { return w.Name == name }) {
			return nil, fmt.Errorf("--pipeline %s: %s has no such pipeline (it has %s)", name, s.File, PipelineNames(all))
		}
	}
	if len(names) > 0 {
		chosen := slices.DeleteFunc(slices.Clone(all), func(w pipeline.Workflow) bool { return !slices.Contains(names, w.Name) })
		for _, w := range chosen {
			if len(w.Steps) == 0 && w.LeftOut != "" && len(w.Wrong) == 0 {
				return nil, fmt.Errorf("--pipeline %s: cannot run: %s", w.Name, w.LeftOut)
			}
		}
		return chosen, wrongOf(chosen)
	}
	var chosen []pipeline.Workflow
	for _, w := range all {
		if w.LeftOut != "" {
			say(fmt.Sprintf("pipeline %s is left out: %s", w.Name, w.LeftOut))
			continue
		}
		chosen = append(chosen, w)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s: no pipeline is left to run (choose one: --pipeline NAME, or say what is built: --event, --branch)", s.File)
	}
	return chosen, wrongOf(chosen)
}

// Check returns what is wrong with any pipeline of the file.
func (s *Source) Check() error { return wrongOf(s.Set.Workflows) }

// wrongOf is an Errors, or nil.
func wrongOf(workflows []pipeline.Workflow) error {
	var wrong pipeline.Errors
	for _, w := range workflows {
		wrong = append(wrong, w.Wrong...)
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// PipelineNames lists the names of pipelines, each once, separated by commas.
func PipelineNames(all []pipeline.Workflow) string {
	var names []string
	for _, w := range all {
		if !slices.Contains(names, w.Name) {
			names = append(names, w.Name)
		}
	}
	return strings.Join(names, ", ")
}
