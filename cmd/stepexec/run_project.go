package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

// projectFile holds a project's default flags for `stepexec run`, in the folder of its pipeline file.
const projectFile = ".stepexecrc.yml"

// maxProjectFile bounds the size of a project file in bytes.
const maxProjectFile = 64 << 10

// projectFlags are the flags that a project file may set. The project may be a stranger's, so none
// of these lets it reach more of this machine than its pipeline file can: they write no files, name
// no file outside the project, run no command, and change neither policy nor what is known of the
// build, nor which steps run.
func projectFlags() []string {
	return []string{
		"as-docker", "collect-junit", "env", "env-file", "fail-fast", "locked", "output",
		"parallel", "platform", "pull", "show-services", "timeout", "timestamps",
	}
}

// projectDefaults sets the flags that the project file gives and the command line does not. file is
// the argument for the pipeline file, if any.
func (o *runOptions) projectDefaults(flags *pflag.FlagSet, file string) error {
	if o.noProjectFile {
		return nil
	}
	found, err := run.FindFile(file)
	if err != nil {
		return nil // reading the pipeline says so
	}
	dir, err := filepath.Abs(filepath.Dir(found))
	if err != nil {
		return err
	}
	name := filepath.Join(filepath.Dir(found), projectFile)
	data, err := beneath.At(filepath.Join(dir, projectFile), dir).ReadFile(maxProjectFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	source, documents := pipeline.ReadSource(name, data)
	if len(documents) > 1 {
		source.Fail("has several documents", "write one map from names of flags to values")
	}
	for _, document := range documents {
		p := project{source: source, flags: flags, dir: dir, options: o}
		p.read(document)
	}
	return source.Err()
}

// project reads one project file.
type project struct {
	source  *pipeline.Source
	flags   *pflag.FlagSet
	dir     string // absolute folder of the file
	options *runOptions
}

func (p *project) read(n pipeline.Node) {
	if n.Kind() != "map" {
		p.source.WrongType(n, "a map from names of flags to values")
		return
	}
	for _, entry := range n.Entries() {
		flag := p.flags.Lookup(entry.Name)
		switch {
		case flag == nil || flag.Hidden:
			p.source.Misplaced(entry.Node, "there is no such flag", pipeline.DidYouMean(entry.Name, projectFlags()))
		case !slices.Contains(projectFlags(), entry.Name):
			p.source.Misplaced(entry.Node, "a project may not set this flag", "give it on the command line: --"+entry.Name)
		default:
			p.set(flag, entry.Node)
		}
	}
}

// set gives a flag its value or values. Those of the command line take precedence: variables one by
// one, other flags as a whole.
func (p *project) set(flag *pflag.Flag, n pipeline.Node) {
	values := []pipeline.Node{n}
	if n.Kind() == "list" && strings.HasSuffix(flag.Value.Type(), "Array") {
		values = n.Items()
	}
	given := flag.Changed
	var variables []string
	for _, v := range values {
		text := p.source.Text(v)
		switch {
		case text == "":
			p.source.Wrong(v, "must not be empty", "give it a value or remove the key")
		case flag.Name == "env":
			variables = append(variables, p.variable(v, text)...)
		case flag.Name == "env-file":
			variables = append(variables, p.envFile(v, text)...)
		case !given:
			if err := p.flags.Set(flag.Name, text); err != nil {
				p.source.Wrong(v, plainFlagError(err).Error(), "")
			}
		}
	}
	p.options.projectEnv = append(p.options.projectEnv, variables...)
}

// variable checks NAME=VALUE. A name alone would take its value from this machine.
func (p *project) variable(n pipeline.Node, text string) []string {
	if name, _, given := strings.Cut(text, "="); name == "" || !given {
		p.source.Wrong(n, "must be NAME=VALUE", "a project may not take variables from this machine; give them on the command line")
		return nil
	}
	return []string{text}
}

// envFile reads a dotenv file of the project, such as .env, which may not lie outside it. A FIFO is
// an error: without anybody who writes, it would read as empty.
func (p *project) envFile(n pipeline.Node, name string) []string {
	if !filepath.IsLocal(name) {
		p.source.Wrong(n, fmt.Sprintf("%q is not in the project's folder", name), "name a file beneath it, or give --env-file on the command line")
		return nil
	}
	open := func(path string) (*os.File, error) {
		return beneath.At(filepath.Join(p.dir, path), p.dir).OpenRegular()
	}
	entries, err := pipeline.ReadEnvFileBy(open, name)
	if err != nil {
		p.source.Report(n, err)
	}
	return entries
}
