package woodpecker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// Options say for which build files are read.
type Options struct {
	Build   pipeline.Build
	Params  map[string]string // further variables, that the text of the file and all steps but plugins see
	Trust   *Trust            // nil: all of it
	Network string            // of steps without network_mode; "" is the host's

	PrivilegedPlugins []string // images of plugins that are privileged by themselves

	Raw bool // nothing of the build is put into the pipelines, to convert them
}

// Load reads a workflow file, or all of a folder. What is wrong in the files is a
// pipeline.Errors; what Woodpecker ignores or warns of is in the warnings of the set.
func Load(path string, o Options) (*pipeline.Set, error) {
	files, err := filesOf(path)
	if err != nil {
		return nil, fmt.Errorf("read workflows: %w", err)
	}
	l := &loader{o: &o, set: &pipeline.Set{}}
	for _, file := range files {
		data, err := pipeline.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read workflow: %w", err)
		}
		var wrong pipeline.Errors
		before := len(l.set.Workflows)
		if err := l.file(file, string(data)); errors.As(err, &wrong) {
			workflow := pipeline.Workflow{Pipeline: &pipeline.Pipeline{File: file, Name: workflowName(file)}, Wrong: wrong}
			l.set.Workflows = append(l.set.Workflows[:before], workflow)
		} else if err != nil {
			return nil, err
		}
	}
	if err := l.set.Whole(); err != nil {
		return nil, err
	}
	l.connect()
	return l.set, nil
}

// Parse reads the text of one workflow file; file is its name for messages.
func Parse(file string, data []byte, o Options) (*pipeline.Set, error) {
	l := &loader{o: &o, set: &pipeline.Set{}}
	if err := l.file(file, string(data)); err != nil {
		return nil, err
	}
	l.connect()
	return l.set, nil
}

// filesOf is the file, or those of a folder in the order of their names.
func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); !entry.IsDir() && (ext == ".yml" || ext == ".yaml") {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, &fs.PathError{Op: "look for .yml and .yaml files in", Path: path, Err: fs.ErrNotExist}
	}
	return files, nil
}

// workflowName is the name that a server gives to the workflow of a file.
func workflowName(file string) string {
	name := filepath.Base(file)
	return strings.TrimPrefix(strings.TrimSuffix(name, filepath.Ext(name)), ".")
}

// loader reads files into a set.
type loader struct {
	o        *Options
	set      *pipeline.Set
	optional map[string][]string // by names of workflows: what they depend on only where it is there
	steps    int                 // of all workflows so far
	effort   pipeline.Effort     // of the conditions of all files
}

// connect leaves out what depends on a workflow that is not there or left out itself, and
// says so, where a server drops it without a word.
func (l *loader) connect() {
	all := l.set.Workflows
	runs := func(name string) bool {
		return slices.ContainsFunc(all, func(w pipeline.Workflow) bool { return w.Name == name && w.LeftOut == "" })
	}
	for again := true; again; {
		again = false
		for i := range all {
			w := &all[i]
			missing := slices.IndexFunc(w.DependsOn, func(name string) bool { return !runs(name) && !slices.Contains(l.optional[w.Name], name) })
			if w.LeftOut == "" && missing >= 0 {
				w.LeftOut, again = fmt.Sprintf("it depends on %s, which is not there or left out", w.DependsOn[missing]), true
			}
		}
	}
	for i := range all {
		all[i].DependsOn = slices.DeleteFunc(all[i].DependsOn, func(name string) bool { return !runs(name) })
	}
}
