package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/stepexec/stepexec/pipeline"
)

// A format reads files of one CI system.
type format struct {
	name  string
	files []string // files, or folders, where `run` looks without FILE
	event string   // that a build on the command line has, when nothing says another

	// owns reports whether the file or folder is of this format, by its name or by what
	// is in it. Content is nil for a folder.
	owns func(path string, content []byte) bool

	// root is the folder that holds the repository: the workspace.
	root func(path string) string

	// load reads a file, or a folder. The error is a pipeline.Errors, where the file is to
	// blame.
	load func(path string, in formatInputs) (*pipeline.Set, error)
}

// formatInputs are what conditions and substitutions of a format may depend on.
type formatInputs struct {
	build   pipeline.Build
	environ []string // NAME=value of --env and --env-file
	network string   // of steps that name none
	raw     bool     // for convert: nothing of the build is put into the pipelines
}

// foreignNetwork is the network of steps of other CI systems' files that name none: as with
// docker, each has an address and a localhost of its own.
const foreignNetwork = "private"

// formats are those beside the native one, in the order in which they are looked for.
func formats() []format { return []format{droneFormat(), woodpeckerFormat()} }

// nativeFiles are where `run` and `validate` look first without FILE.
func nativeFiles() []string { return []string{"pipeline.yml", "pipeline.yaml", ".stepexec.yml"} }

// FindFile returns file, or the default pipeline file of the working directory when file is "".
func FindFile(file string) (string, error) {
	if file != "" {
		return file, nil
	}
	all := nativeFiles()
	found, err := firstFile(all)
	if found != "" || err != nil {
		return found, err
	}
	for _, f := range formats() {
		name, err := firstFile(f.files)
		if err != nil {
			return "", err
		}
		if name != "" && found != "" {
			return "", fmt.Errorf("there are %s and %s in the working directory (name one of them)", found, name)
		}
		found = cmp.Or(found, name)
		all = append(all, f.files...)
	}
	if found == "" {
		return "", fmt.Errorf("no pipeline file: there is none of %s in the working directory (name one: stepexec run FILE)", strings.Join(all, ", "))
	}
	return found, nil
}

func firstFile(names []string) (string, error) {
	for _, name := range names {
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// formatOf is the format of a file or folder, nil for the native one.
func formatOf(path string) (*format, error) {
	content, err := pipeline.ReadFile(path)
	isFolder := errors.Is(err, syscall.EISDIR)
	if err != nil && !isFolder {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	if isFolder {
		content = nil
	}
	all := formats()
	at := slices.IndexFunc(all, func(f format) bool { return f.owns(path, content) })
	switch {
	case at >= 0:
		return &all[at], nil
	case isFolder:
		return nil, fmt.Errorf("read pipeline file: %s is a directory (name a file in it)", path)
	}
	return nil, nil
}

// IsFormatFolder reports whether a folder holds the pipeline files of a CI system.
func IsFormatFolder(path string) bool {
	return slices.ContainsFunc(formats(), func(f format) bool { return f.owns(path, nil) })
}
